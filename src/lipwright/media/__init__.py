"""Media in and out: probe, pictures and samples, the timeline, the writer."""
