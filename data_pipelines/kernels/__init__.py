"""Pure functions on strings, NumPy or Arrow arrays: what the steps compute; no files, no config."""
