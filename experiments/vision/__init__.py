"""Self-supervised methods on images."""
