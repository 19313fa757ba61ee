"""One step of a recipe per file: make(*, ...) -> Step, a pure function of a table of documents.

A file whose step judges each row alone says ROWWISE = True: such steps run a piece at a time.
"""
