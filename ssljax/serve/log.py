"""The request log: one row a call, in Parquet files that appear whole.

Columns: `time` (UTC), `request`, `model`, `version`, `caller` (id of the key), `method`, `route`,
`status` (499: the client left), `prompt_tokens`, `completion_tokens`, `seconds`, `first_seconds`
(to the first token), `fingerprint` (of the model), `digest` (of the prompts' ids: equal inputs are
seen without being kept), and `prompt` and `completion`, lists of texts, null unless texts are kept.

A thread writes; a call costs one append. Rows are collected and written by time or number, so a
process that is killed loses those of the last minute at most, and never half a file.
"""

import queue
import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from ssljax.core.errors import needed

WAITING = 100_000                  # rows between calls and thread; more are dropped and counted
ROWS, SECONDS = 50_000, 60.0       # of a file, whichever comes first
TEXTS = ("prompt", "completion")


class LogOptions(NamedTuple):
    """What is logged where.

    folder:  of the files
    sample:  share of the calls, 0 to 1
    text:    whether prompts and answers are kept
    rows:    of a file at most
    seconds: between two files at most
    """

    folder: Path
    sample: float = 1.0
    text: bool = False
    rows: int = ROWS
    seconds: float = SECONDS


class Log(NamedTuple):
    """A log that is open.

    write:   (facts of a call) -> None; never blocks
    dropped: () -> rows that found the thread too far behind
    close:   write what is there
    """

    write: Callable[[Mapping[str, Any]], None]
    dropped: Callable[[], int]
    close: Callable[[], None]


def make_log(options: LogOptions) -> Log:
    """Return a log whose thread runs.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    write_file = writer(options)         # fails now rather than in the thread
    rows: queue.Queue[Mapping[str, Any] | None] = queue.Queue(WAITING)
    lost = 0
    draw = random.Random()

    def write(facts: Mapping[str, Any]) -> None:
        nonlocal lost
        if draw.random() < options.sample:
            try:
                rows.put_nowait(facts)
            except queue.Full:
                lost += 1

    def run() -> None:
        ended = False
        while not ended:
            ended, batch = collect(rows, options)
            if batch:
                try:
                    write_file(batch)
                except OSError as err:   # a full disk must not end the server, nor the log for good
                    logging.error("%d rows of the request log are lost: %s", len(batch), err)

    thread = threading.Thread(target=run, name="ssljax-log", daemon=True)
    thread.start()

    def close() -> None:
        rows.put(None)
        thread.join()

    return Log(write, lambda: lost, close)


def collect(rows: queue.Queue, options: LogOptions) -> tuple[bool, list[Mapping[str, Any]]]:
    """Return (whether the log ends, the rows of one file)."""
    batch: list[Mapping[str, Any]] = []
    end = time.monotonic() + options.seconds
    while len(batch) < options.rows:
        try:
            row = rows.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        if row is None:
            return True, batch
        batch.append(row)
    return False, batch


def writer(options: LogOptions) -> Callable[[list[Mapping[str, Any]]], None]:
    """Return the function that writes one file.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    with needed("pyarrow", "log"):
        import pyarrow as pa
        from pyarrow import parquet
    text, number, real = pa.string(), pa.int64(), pa.float64()
    schema = pa.schema({
        "time": pa.timestamp("us", tz="UTC"), "request": text, "model": text, "version": text,
        "caller": text, "method": text, "route": text, "status": number, "prompt_tokens": number,
        "completion_tokens": number, "seconds": real, "first_seconds": real, "fingerprint": text,
        "digest": text, "prompt": pa.list_(text), "completion": pa.list_(text)})
    options.folder.mkdir(parents=True, exist_ok=True)
    number_of_file = 0

    def write(batch: list[Mapping[str, Any]]) -> None:
        nonlocal number_of_file
        kept = [{name: row.get(name) for name in schema.names
                 if options.text or name not in TEXTS}
                | {"time": datetime.fromtimestamp(row["time"], UTC)} for row in batch]
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{number_of_file:06d}.parquet"
        number_of_file += 1
        hidden = options.folder / f".{name}.tmp"
        parquet.write_table(pa.Table.from_pylist(kept, schema), hidden, compression="zstd")
        hidden.replace(options.folder / name)

    return write
