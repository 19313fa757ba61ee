"""Datasets on disk as records by random access; one format per file: make(*, ...) -> Source. Free of jax."""
