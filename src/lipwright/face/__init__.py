"""Face analysis: tracking, canonical mouth shape, head pose, occlusion and effect strength."""
