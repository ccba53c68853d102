"""Requests that wait, run and end: the ledger of their states, and who carries them out."""
