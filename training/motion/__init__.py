"""Train the motion network and the sync scorer: ``python -m training.motion``.

Training needs the extra ``train`` and footage. The stages are listed in ``__main__``.
"""

from __future__ import annotations
