"""Measures of quality and speed on real footage; run from the checkout, not installed."""
