"""The data stream as a pure function: row q of the run, for any q, from any process.

Batch t is rows t B .. (t + 1) B. Nothing else decides its content: not the number of hosts or
workers, not a restart. The data state in a checkpoint is therefore the step and a fingerprint.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from ssljax.core.errors import ConfigError
from ssljax.core.rng import host_generator
from ssljax.core.source import Record, Source
from ssljax.data.order import records_of_rows

FORMAT = "1"        # raise when the same seed would give other rows


@dataclasses.dataclass(frozen=True)
class Stream:
    """An endless sequence of examples drawn from a source, shuffled anew each epoch.

    example: (record, generator) -> arrays of fixed shape, as Pretext.example
    """

    source: Source
    example: Callable[[Record, np.random.Generator], Mapping[str, np.ndarray]]
    batch_size: int
    seed: int

    def rows(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Return rows first..last stacked: {"epoch": int32 [n], **arrays of the examples}."""
        epochs, indices = records_of_rows(first, last, len(self.source), self.seed)
        records = self.source.read(indices)
        examples = [
            self.example(record, host_generator(self.seed, "example", int(epoch), record["id"]))
            for epoch, record in zip(epochs, records, strict=True)]
        stacked = {name: np.stack([e[name] for e in examples]) for name in examples[0]}
        return {**stacked, "epoch": epochs.astype(np.int32)}

    def fingerprint(self) -> dict[str, str]:
        """Return what the stream depends on; a run resumes only on an equal one."""
        return {**self.source.fingerprint(), "batch_size": str(self.batch_size),
                "seed": str(self.seed), "stream_format": FORMAT}

    def host_rows(self, step: int, host: int, hosts: int) -> dict[str, np.ndarray]:
        """Return this host's contiguous share of batch `step`."""
        if self.batch_size % hosts:
            raise ConfigError(f"batch_size {self.batch_size} does not divide over {hosts} hosts; "
                              f"use {self.batch_size // hosts * hosts or hosts}.")
        share = self.batch_size // hosts
        first = step * self.batch_size + host * share
        return self.rows(first, first + share)
