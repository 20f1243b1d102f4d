"""Models whose weights come with a Python package, so that search works on a machine that never sees a hub."""
