"""The ledger of jobs, API keys, uploads and webhook deliveries, in SQL and in memory."""
