"""Find graphics that stand on the screen in front of a face: captions, logos, watermarks."""
