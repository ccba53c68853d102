"""Engines paint new mouths: the interface, the built-in engines and the plug-in registry."""
