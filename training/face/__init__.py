"""Training of the occlusion detector; needs the extra ``train``."""
