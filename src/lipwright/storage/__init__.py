"""Storage of uploads and results, signed URLs to them, and secrets of the installation."""
