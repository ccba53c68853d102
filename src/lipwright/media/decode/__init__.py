"""Decode video frames and audio samples."""
