"""Connections to the outside: what may be reached, and nothing else."""
