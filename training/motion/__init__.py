"""Train the networks; needs the extra ``train`` and footage. Run as a module, see ``__main__``."""

from __future__ import annotations
