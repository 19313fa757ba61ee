"""State, step, loop and checkpoints, the same for every method; only here is Orbax known."""
