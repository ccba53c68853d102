"""Paint a mouth into a view: exemplar bank, path, warp, composite. Works on arrays, not files."""
