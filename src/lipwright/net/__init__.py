"""Outgoing HTTP requests: URL parsing, address checks, downloads."""
