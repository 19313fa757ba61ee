"""Batches from a stream through Grain: read-ahead, worker processes and transfer to the devices.

Grain gets a source whose element j is this host's whole share of batch start + j, so that all
meaning stays in Stream and Grain's iterator state is never needed.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import grain
import numpy as np
from absl import flags

from ssljax.data.stream import Stream

PREFETCH = 2        # batches ready on the device: one in use, one behind it


@dataclasses.dataclass(frozen=True)
class HostBatches:
    """A Grain source: element j is this host's rows of global batch start + j."""

    stream: Stream
    host: int
    hosts: int
    start: int

    def __len__(self) -> int:
        """Return a length no run reaches: the stream is endless."""
        return 2**62 - self.start

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Return the rows of batch start + index.

        A StopIteration out of here would end a worker's share without a word.
        """
        try:
            return self.stream.host_rows(self.start + int(index), self.host, self.hosts)
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


def batches(stream: Stream, *, start: int, host: int, hosts: int, place: Callable[[Any], Any],
            workers: int = 0) -> Iterator[Any]:
    """Return an iterator over batches start, start + 1, ...; has close().

    Args:
        stream: what to read.
        start: the first step.
        host: this process's number.
        hosts: number of processes.
        place: host rows -> device arrays; runs in this process, ahead of the step.
        workers: processes that read and decode; 0 reads in a thread, right for tokens.
    """
    data = grain.MapDataset.source(HostBatches(stream, host, hosts, start))
    data = data.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=PREFETCH))
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()       # Grain's workers read an absl flag of their own
        options = grain.MultiprocessingOptions(workers, per_worker_buffer_size=PREFETCH)
        data = data.mp_prefetch(options, worker_init_fn=start_worker)
    data = data.map(place)
    return iter(grain.experimental.ThreadPrefetchIterDataset(data, prefetch_buffer_size=PREFETCH))
