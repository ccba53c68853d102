"""The worker processes: claim a job, render it, publish the result."""
