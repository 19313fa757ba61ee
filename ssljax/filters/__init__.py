"""Which records of a source are used; one rule per file: make(*, ...) -> Filter. No jax."""
