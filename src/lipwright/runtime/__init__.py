"""Threads, memory, temporary arrays and devices: what every stage uses."""
