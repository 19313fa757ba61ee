"""Batches a rewound run leaves out: which batch a step reads, as a pure function of the step.

When training diverges, PaLM's remedy (Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311,
section 5.1) is to go back to a checkpoint and skip the batches around the spike. A skip (s, n) says
that steps from s on read n batches further along the stream.
"""

Skips = tuple[tuple[int, int], ...]     # (step, batches), in the order they were decided


def position(step: int, skips: Skips) -> int:
    """Return the batch of the stream that training step `step` (counted from 0) reads."""
    return step + sum(batches for since, batches in skips if since <= step)
