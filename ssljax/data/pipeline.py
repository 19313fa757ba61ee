"""Batches from a stream through Grain: read-ahead, worker processes and transfer to the devices.

Grain gets a source whose element j is this host's whole share of batch start + j, so that all
meaning stays in Stream and Grain's iterator state is never needed. Two stages run ahead of the
step: rows ready on the host, and batches ready on the devices.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grain
import numpy as np
from absl import flags, logging

from ssljax.core.errors import DataError, SsljaxError
from ssljax.data.skips import Skips, position
from ssljax.data.stream import Stream

PREFETCH = 2        # batches ready in each stage: one to take, one behind it


@dataclasses.dataclass(frozen=True)
class HostBatches:
    """A Grain source: element j is this host's rows of the batch that step start + j reads."""

    stream: Stream
    host: int
    hosts: int
    start: int
    skips: Skips = ()

    def __len__(self) -> int:
        """Return a length no run reaches: the stream is endless."""
        return 2**62 - self.start

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {"step": start + index, "rows": what it reads, "unread": reason -> records}.

        A StopIteration out of here would end a worker's share without a word.
        """
        step = self.start + int(index)
        try:
            batch = position(step, self.skips)
            rows, unread = self.stream.host_share(batch, self.host, self.hosts)
            return {"step": np.int64(step), "rows": rows, "unread": dict(unread)}
        except StopIteration as err:
            raise RuntimeError("A source raised StopIteration while reading a record.") from err


def start_worker(index: int, count: int) -> None:
    """Prepare a worker process: end with its parent, and leave accelerators alone."""
    del index, count
    import multiprocessing
    import os
    import threading

    import jax

    def end_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    jax.config.update("jax_platforms", "cpu")


class Batches:
    """An iterator over placed batches that never skips one: an error ends it for good.

    unread: reason -> records of this host's rows that could not be read and that others took the
            place of, since this process started
    """

    def __init__(self, elements: Iterator[tuple[int, Mapping[str, int], Any]], start: int):
        self.unread = Counter[str]()
        self._elements, self._step = elements, start
        self._failure: Exception | None = None

    def __iter__(self) -> "Batches":
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Return the next batch.

        Raises:
            DataError: reading failed before, or a worker's batch is missing: asked again, Grain
                would go on with the batch after the failed one, or without a worker's share.
        """
        if self._failure is not None:
            raise DataError("The batches ended with an error and cannot go on: "
                            f"{self._failure}") from self._failure
        try:
            step, unread, batch = next(self._elements)
            if step != self._step:
                raise DataError(f"Batch {self._step} is missing: batch {step} came in its place. A "
                                "worker process has lost its share; start the run again.")
        except SsljaxError as err:
            self._fail(err)
            raise
        except Exception as err:     # a record's decoder may raise anything
            failure = DataError(f"Batch {self._step} cannot be read: {type(err).__name__}: {err}")
            self._fail(failure)
            raise failure from err
        self._step += 1
        if unread:
            self.unread.update(unread)
            logging.warning("Batch %d: unreadable records (%s), others in their place; %d so far.",
                            step, ", ".join(f"{n} {reason}" for reason, n in unread.items()),
                            self.unread.total())
        return batch

    def gauges(self) -> dict[str, float]:
        """Return the counts of `unread` as metrics; nothing while there are none."""
        return {f"unreadable/{reason}": float(n) for reason, n in sorted(self.unread.items())}

    def _fail(self, failure: Exception) -> None:
        self._failure = failure
        self.close()

    def close(self) -> None:
        """End threads and worker processes."""
        self._elements.close()


def batches(stream: Stream, *, start: int, host: int, hosts: int, place: Callable[[Any], Any],
            workers: int = 0, skips: Skips = ()) -> Batches:
    """Return an iterator over batches start, start + 1, ...; has close().

    Reading begins at once, so that it overlaps compilation.

    Args:
        stream: what to read.
        start: the first step.
        host: this process's number.
        hosts: number of processes.
        place: host rows -> device arrays; runs in this process, ahead of the step.
        workers: processes that read and decode; 0 reads in a thread, right for tokens. A script
            that asks for some needs `if __name__ == "__main__":`, as they import it again.
        skips: batches that a rewound run leaves out.
    """
    data = grain.MapDataset.source(HostBatches(stream, host, hosts, start, skips))
    data = data.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=PREFETCH))
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()       # Grain's workers read an absl flag of their own
        options = grain.MultiprocessingOptions(workers, per_worker_buffer_size=PREFETCH)
        data = data.mp_prefetch(options, worker_init_fn=start_worker)

    def place_rows(element: dict[str, Any]) -> tuple[int, Mapping[str, int], Any]:
        return int(element["step"]), element["unread"], place(element["rows"])

    placed = data.map(place_rows)
    elements = iter(grain.experimental.ThreadPrefetchIterDataset(
        placed, prefetch_buffer_size=PREFETCH))
    elements.start_prefetch()
    return Batches(elements, start)
