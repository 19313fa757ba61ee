"""One network per file: make(*, ...) -> Model."""
