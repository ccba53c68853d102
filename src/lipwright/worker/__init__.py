"""Worker processes: one per slot, each with a render process, kept alive by a supervisor."""
