"""Occluders in front of the mouth: how well they are kept, and false alarms."""
