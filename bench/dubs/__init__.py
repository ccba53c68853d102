"""Complete dubs with foreign speech: exact timing, synchrony and picture."""
