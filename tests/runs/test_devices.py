"""Batch sizes that no mesh can split are refused before anything compiles."""

import pytest

from ssljax.core.errors import ConfigError
from ssljax.runs.pretrain import check_devices


def config(batch_size: int, accumulate: int = 1, *, mesh: dict, **model) -> dict:
    return {"mesh": mesh, "batch_size": batch_size, "accumulate": accumulate,
            "model": {"name": "gpt", **model}}


@pytest.mark.parametrize("fits", [
    config(16, 2, mesh={"data": 8}), config(8, mesh={"data": 2, "tensor": 4}),
    config(8, mesh={"stage": 4, "data": 2}),
    config(32, 2, mesh={"stage": 4, "data": 2}, pipeline_microbatches=8)])
def test_a_batch_that_fits_is_accepted(fits):
    check_devices(fits)


@pytest.mark.parametrize("refused, message", [
    (config(12, mesh={"data": 8}), "multiple of 8 .8 batch devices x 1 microbatches.; use 8 or 16"),
    (config(8, 2, mesh={"data": 8}), "multiple of 16"),
    (config(8, mesh={"stage": 4, "data": 2}, pipeline_microbatches=8),
     "multiple of 16 .8 batch devices x 1 microbatches, 8 in the pipeline.; use 16")])
def test_a_batch_that_does_not_is_refused_with_the_next_that_does(refused, message):
    with pytest.raises(ConfigError, match=message):
        check_devices(refused)
