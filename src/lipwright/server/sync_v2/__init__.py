"""sync.so's API, version 2."""
