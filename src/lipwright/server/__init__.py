"""The HTTP service: wire formats, authentication and uploads."""
