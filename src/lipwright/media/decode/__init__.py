"""Decode video and audio."""
