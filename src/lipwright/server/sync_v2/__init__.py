"""The API of sync.so, version 2."""
