"""Paint a mouth into a frame: exemplars, path, warp, composite. Arrays only, no files."""
