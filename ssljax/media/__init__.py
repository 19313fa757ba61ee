"""Encoded media to arrays on the host, by operations that are plain data; no jax at import."""
