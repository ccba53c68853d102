"""Training of the occlusion network; needs the extra ``train``."""
