"""Wall time, processor time and memory of the main job."""
