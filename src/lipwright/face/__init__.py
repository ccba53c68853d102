"""Where the face is and what it does: tracker, canonical mouth shape, pose."""
