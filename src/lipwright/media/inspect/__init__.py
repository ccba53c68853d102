"""Open a file and find out what it holds: kind, streams, times, tracks, side data."""
