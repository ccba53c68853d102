"""The motion network alone, before anything is painted."""
