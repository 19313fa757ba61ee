"""Config to composed run: the Python API behind the verbs."""
