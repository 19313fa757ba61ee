"""Runs a recipe in bounded memory, on any number of workers, exactly once: start with plan.py."""
