"""Encode and mux video and audio."""
