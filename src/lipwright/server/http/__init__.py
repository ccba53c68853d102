"""HTTP independent of any dialect: bodies, multipart, ranges, events, middleware."""
