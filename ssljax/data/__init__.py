"""Source and pretext to global device batches; the only package that knows Grain."""
