"""One update rule per file: make(schedule, *, lr, ...) -> optax.GradientTransformation.

`compose` makes the optimizer of a run from them: clipping, groups of weights, an average.
"""
