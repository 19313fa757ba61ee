"""One optimizer recipe per file: make(schedule, *, ...) -> optax.GradientTransformation."""
