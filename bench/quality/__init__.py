"""Picture quality: self-reenactment of held-back footage, and the painted mouth interior."""
