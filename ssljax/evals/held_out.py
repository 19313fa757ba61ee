"""The method's own task on images it has not seen: its loss and metrics on held-out records.

How well a pretext task is solved (the accuracy of rotation, the bits per dimension of pixels) says
whether training worked at all; it does not say how good the features are. Views are drawn once, by
the records' ids, so two checkpoints answer the same questions. Metrics are those of training:
networks with batch norm normalise by the batch that they see. Reads the records of the run's
pretext; returns {held_out_METRIC: (mean, 95 % interval over batches)}, held_out_loss among them.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np

from ssljax.core import sharding
from ssljax.core.errors import DataError
from ssljax.core.rng import host_generator
from ssljax.core.source import Record, Source
from ssljax.core.types import Batch, Evaluator, Example, Judgement, Key, Objective, Params, PyTree
from ssljax.evals import bootstrap
from ssljax.evals.readable import each_readable
from ssljax.train.state import with_views

SEED = 0            # of host crops, of views and of what the loss draws


def make(objective: Objective, *, example: Callable[[Record, np.random.Generator], Example],
         views: Callable[[Key, Example], Example], source: Source, batch_size: int = 256,
         records: int = 0, every: int = 0) -> Evaluator:
    """Return the evaluator.

    Args:
        objective: its loss is computed.
        example: the pretext's host part.
        views: the pretext's device part.
        source: held-out records.
        batch_size: rows of a batch; those that fill no whole batch are left out.
        records: how many are read; 0 means all.
        every: steps between judgements during training; 0 means only when asked.

    Raises:
        DataError: there is not one batch of records.
    """
    count = min(records or len(source), len(source))
    if count < batch_size:
        raise DataError(f"held_out needs a batch of {batch_size} records; the source has "
                        f"{len(source)} and {records or 'all'} are asked for. Use a smaller "
                        "batch_size.")

    @functools.cache
    def batches() -> list[dict[str, np.ndarray]]:
        rows = each_readable(source, source.read(np.arange(count)), first_epoch, least=batch_size)
        return [stacked(rows[start:start + batch_size])
                for start in range(0, len(rows) - batch_size + 1, batch_size)]

    def first_epoch(record: Record) -> Example:
        return example(record, host_generator(SEED, "held_out", 0, record["id"]))

    @jax.jit
    def metrics(params: Params, extra: PyTree, batch: Batch) -> dict[str, tuple]:
        key = jax.random.key(SEED)
        batch = with_views(views, key, batch)
        total, (weight, _, found) = objective.loss(params, extra, batch, key)
        return {"loss": (total, weight), **found}

    def run(params: Params, extra: PyTree) -> Judgement:
        mesh = sharding.mesh_of(params)
        with sharding.use_mesh(mesh):
            found = [jax.tree.map(float, metrics(params, extra, sharding.place_whole(mesh, batch)))
                     for batch in batches()]
        return {f"held_out_{name}": bootstrap.ratio(*np.array([one[name] for one in found]).T)
                for name in found[0]}

    return Evaluator(every, run)


def stacked(rows: list[Example]) -> dict[str, np.ndarray]:
    """Return examples as the train step reads them, in their first epoch."""
    batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return {**batch, "epoch": np.zeros(len(rows), np.int32)}
