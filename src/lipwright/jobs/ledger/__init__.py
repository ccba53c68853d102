"""The table of jobs, keys, uploads and deliveries: in SQL and in memory."""
