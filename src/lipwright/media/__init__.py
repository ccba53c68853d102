"""Media input and output: probe, decode, timeline, frames, encode."""
