"""One learning-rate schedule per file: make(*, peak, total_steps, ...) -> optax.Schedule."""
