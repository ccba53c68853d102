"""HTTP without a dialect: bodies, multipart, ranges, events."""
