"""One self-supervised method per file: make(model, *, ...) -> Objective."""
