"""Self-supervised pre-training in JAX, from raw data to a served foundation model."""

__version__ = "0.1.0"
