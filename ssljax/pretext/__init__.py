"""Record to example on the host; one transform per file: make(*, ...) -> Pretext."""
