"""Jobs: the ledger of their states, the work queue, webhooks and retention."""
