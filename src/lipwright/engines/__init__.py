"""Engines: what paints a new mouth. Built-in ones and plug-ins behind one page-long seam."""
