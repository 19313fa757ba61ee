"""Datasets as records by random access; one format per file: make(*, ...) -> Source. No jax."""
