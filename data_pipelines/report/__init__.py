"""The page of statistics of a version: what was read, what was dropped and why, what is left."""
