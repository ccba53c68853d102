"""Trains the weights that come with the package; not part of the wheel."""
