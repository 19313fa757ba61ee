"""Layers, and the layouts of the weights they share."""
