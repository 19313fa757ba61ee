"""What a recipe is made of, and how it runs in memory that does not grow with the corpus.

Documents lie in *blocks*, Arrow files of some 16 MB of text; a row's number is its place in the
order of the input, whatever the blocks. A recipe's first step is its source: a table of files ->
tables of documents. Every other step is one of

* row-wise (`ROWWISE = True` in its module): table -> table, each row alone. Neighbouring row-wise
  steps run as one pass over each block. `Fitted` where it needs a model that the recipe makes.
* `Grouped`: rows that lie apart are judged together, by records much smaller than they. `emit`
  turns each block into *channels*, tables of records with a uint64 "key". A channel is partitioned
  by key prefix as it is written, so that one partition after the other fits in memory: an external
  sort (sort.py), where an engine's group-by of the same records took nine times the memory. A
  `Round` judges the partitions of one or more channels, each alone, and emits channels in its turn;
  a `Loop` repeats rounds until a channel settles, which is how connected components are found
  without a task that sees them all. The channel "verdicts" has a "row" in the place of the key and
  goes back to the row's block, where `apply` writes it into the table whenever the block is read
  next: no step copies the text.
* any other function from table to table: it sees the whole corpus at once, and is refused above
  256 MiB of text. No step of this package is one.

Nothing depends on how many blocks, partitions or workers there are. Each task is a module's
function with plain arguments (tasks.py), run by an `Executor`: processes of this machine (local.py)
or a cluster's. Its output appears by one rename (commit.py), under a key made of all it depends on.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

VERDICTS = "verdicts"


class Rows(NamedTuple):
    """Arrays that later rounds fetch by row number; beside the channels, and never partitioned.

    row:    int64 [n], increasing
    fixed:  structured array [n], a record of each row
    values: uint64, the rows' sequences end to end
    starts: int64 [n + 1]
    """

    row: np.ndarray
    fixed: np.ndarray
    values: np.ndarray
    starts: np.ndarray


class Context(NamedTuple):
    """What a round may know of the whole.

    kept:  rows of all blocks that nothing had dropped before the step
    fetch: (name, row numbers increasing and distinct) -> Rows of just these
    read:  (name, row numbers, first bytes, ends) -> these bytes of the rows' values end to end
    """

    kept: int
    fetch: Callable[[str, np.ndarray], Rows]
    read: Callable[[str, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


Channels = Mapping[str, pa.Table]
Emitted = Mapping[str, pa.Table | Rows]


class Round(NamedTuple):
    """One judgement of partitions.

    name:  in keys and messages
    reads: channels, as the latest round that emits them left them
    judge: (channels of one partition, context) -> channels; a partition has every record of a key
    whole: more channels, of which every task reads all partitions: totals, centres; small ones
    """

    name: str
    reads: tuple[str, ...]
    judge: Callable[[Channels, Context], Channels]
    whole: tuple[str, ...] = ()


class Loop(NamedTuple):
    """Rounds repeated until the records of a channel are what they were one turn before."""

    name: str
    rounds: tuple[Round, ...]
    settles: str


class Grouped(NamedTuple):
    """A step that judges rows by records of them; callable on a table held in memory.

    emit:   (table of one block, number of its first row) -> channels and rows
    rounds: what is judged, in order
    apply:  (table of one block, its verdicts with "row" counted from the block's first) -> table
    """

    emit: Callable[[pa.Table, int], Emitted]
    rounds: tuple[Round | Loop, ...]
    apply: Callable[[pa.Table, pa.Table], pa.Table]

    def __call__(self, table: pa.Table, *, partitions: int = 1) -> pa.Table:
        """Judge one table as the engine judges a corpus of one block."""
        from data_pipelines.engine.engine import Engine, Given, Once
        with tempfile.TemporaryDirectory() as folder:
            engine = Engine(Path(folder), executor=Once(), partitions=partitions)
            blocks = engine.grouped(engine.hold(table), Given(self), "table")
            return pa.concat_tables(engine.tables(blocks))


class Fitted(NamedTuple):
    """A row-wise step by a model that a recipe fits.

    load:  makes the model's file where it is absent, before the key of the step is taken: it
        depends on what is in the file
    apply: table -> table
    """

    load: Callable[[], Any]
    apply: Callable[[pa.Table], pa.Table]

    def __call__(self, table: pa.Table) -> pa.Table:
        """Judge some rows."""
        return self.apply(table)


Step = Callable[[pa.Table], pa.Table] | Fitted | Grouped


class Call(NamedTuple):
    """A task: function(folder, **arguments), both picklable; it writes into the empty folder."""

    function: Callable[..., Mapping[str, Any]]
    arguments: Mapping[str, Any]
    folder: str


class Executor(Protocol):
    """Who runs tasks. Order is free, and a task may run twice: the first to commit stands.

    Local processes now; a Daft or Ray executor maps `commit.run` over the same calls where the
    work folder is on a file system that all nodes share.
    """

    def run(self, calls: Sequence[Call]) -> Iterator[int]:
        """Run calls and yield the number of each as it is done.

        Raises:
            SsljaxError: a task failed; those already running may still finish.
        """

    def close(self) -> None:
        """Release processes."""
