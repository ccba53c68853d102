"""What every tier shares."""

from __future__ import annotations

from hypothesis import settings

# The same examples on every machine and in every run; machines under load are slow, not wrong.
settings.register_profile("lipwright", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("lipwright")
