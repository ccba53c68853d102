"""Make the files that people bring, on the spot."""
