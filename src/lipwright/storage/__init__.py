"""Where inputs and results lie, and the signed URLs under which they are served."""
