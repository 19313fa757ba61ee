"""State, step, loop and checkpoints: the same for every method; the only package that knows Orbax."""
