"""The HTTP service: wire formats, keys, and nothing that a job needs to run."""
