"""The data stream as a pure function: row q of the run, for any q, from any process.

Batch t is rows t B .. (t + 1) B. Nothing else decides its content: not the number of hosts or
workers, not a restart. The data state in a checkpoint is therefore the step and a fingerprint.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ssljax.core.errors import ConfigError, DataError, UnreadableRecordError
from ssljax.core.rng import hash64, host_generator
from ssljax.core.source import Record, Source, read_each
from ssljax.data.fingerprint import shorten
from ssljax.data.mixture import Schedule, make_schedule
from ssljax.data.order import permute, records_of_rows

FORMAT = "2"        # raise when the same seed would give other rows
TRIES = 16          # records drawn in place of one that cannot be read, before giving up

Example = Callable[[Record, np.random.Generator], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Stream:
    """An endless sequence of examples drawn from sources by weight, each shuffled anew each epoch.

    parts:    name -> source; packed and filtered before they come here
    example:  (record, generator) -> arrays of fixed shape, as Pretext.example
    schedule: which part each row is of
    recipe:   what else decides the examples, for the fingerprint: the pretext's hash
    """

    parts: Mapping[str, Source]
    example: Example
    batch_size: int
    seed: int
    schedule: Schedule
    recipe: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def rows(self, first: int, last: int) -> tuple[dict[str, np.ndarray], Counter[str]]:
        """Return rows first..last, and by reason how many records could not be read for them.

        The rows are stacked, {"epoch": int32 [n], **the examples' arrays}; epoch counts the passes
        over the row's own part.
        """
        part, number = self.schedule.rows(first, last)
        rows: list[dict[str, Any]] = [{}] * (last - first)
        unread = Counter[str]()
        for at, (name, source) in enumerate(self.parts.items()):
            mine = np.flatnonzero(part == at)
            for place, (row, reasons) in zip(mine, self._of_part(name, source, number[mine]),
                                             strict=True):
                rows[place] = row
                unread.update(reasons)
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}, unread

    def fingerprint(self) -> dict[str, str]:
        """Return what the stream depends on; a run resumes only on an equal one.

        Short, so that it can be in every checkpoint, and field by field, so that a difference says
        what changed.
        """
        parts = {name: dict(source.fingerprint()) for name, source in self.parts.items()}
        stages = {f"stage.{s.first}": " ".join(map(str, s.edges)) for s in self.schedule.stages}
        return shorten(parts, {**self.recipe, "batch_size": str(self.batch_size),
                               "seed": str(self.seed), "stream_format": FORMAT,
                               **(stages if len(parts) > 1 else {})})

    def host_rows(self, step: int, host: int, hosts: int) -> dict[str, np.ndarray]:
        """Return this host's contiguous share of batch `step`."""
        return self.host_share(step, host, hosts)[0]

    def host_share(self, step: int, host: int, hosts: int,
                   ) -> tuple[dict[str, np.ndarray], Counter[str]]:
        """Return this host's share of batch `step`, and the records unread in it by reason."""
        if self.batch_size % hosts:
            raise ConfigError(f"batch_size {self.batch_size} does not divide over {hosts} hosts; "
                              f"use {self.batch_size // hosts * hosts or hosts}.")
        share = self.batch_size // hosts
        first = step * self.batch_size + host * share
        return self.rows(first, first + share)

    def _of_part(self, name: str, source: Source,
                 numbers: np.ndarray) -> list[tuple[dict[str, Any], list[str]]]:
        """Return the example of each of a part's rows `numbers`, and what was unread before it."""
        if not len(numbers):
            return []
        order = hash64(self.seed, "order", name)
        epochs, indices = records_of_rows(numbers, len(source), order)
        drawn = zip(epochs, numbers, read_each(source, indices), strict=True)
        return [self._example(name, source, int(epoch), int(number) % len(source), record)
                for epoch, number, record in drawn]

    def _example(self, name: str, source: Source, epoch: int, position: int,
                 record: Record | UnreadableRecordError) -> tuple[dict[str, Any], list[str]]:
        """Return one row; a keyed redraw takes the place of a record that cannot be read.

        Raises:
            DataError: so did TRIES others; the source is broken, not a record of it.
        """
        reasons: list[str] = []
        for attempt in range(TRIES + 1):
            try:
                if isinstance(record, UnreadableRecordError):
                    raise record
                made = self.example(record, host_generator(self.seed, "example", epoch,
                                                           record["id"]))
                return {**made, "epoch": np.int32(epoch)}, reasons
            except UnreadableRecordError as err:
                unreadable = err
                reasons.append(err.reason)
            key = hash64(self.seed, "redraw", name, epoch, attempt)
            (record,) = read_each(source, permute(np.array([position]), len(source), key))
        raise DataError(f"Part {name!r} of the data: a record and {TRIES} drawn in its place "
                        f"cannot be read; the last: {unreadable}") from unreadable


def stream_of(source: Source, example: Example, *, batch_size: int, seed: int,
              recipe: Mapping[str, str] | None = None) -> Stream:
    """Return the stream of one source."""
    return Stream({"data": source}, example, batch_size, seed, make_schedule([(0, (1.0,))]),
                  recipe or {})
