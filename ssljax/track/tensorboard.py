"""TensorBoard event files, written without TensorFlow, by the tensorboard package alone.

clu.metric_writers and tensorboard's own EventFileWriter import TensorFlow where it is installed;
the record format and the protocol buffers do not.
"""

import pathlib
import time
from collections.abc import Mapping

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from ssljax.core.types import Writer


def make(folder: pathlib.Path) -> Writer:
    """Return a writer of scalars to a new event file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    now = time.time_ns()
    file = (folder / f"events.out.tfevents.{now}").open("wb")
    records = RecordWriter(file)
    records.write(Event(wall_time=now / 1e9, file_version="brain.Event:2").SerializeToString())

    def write(step: int, scalars: Mapping[str, float]) -> None:
        values = [Summary.Value(tag=n, simple_value=x) for n, x in scalars.items()]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        records.write(event.SerializeToString())
        records.flush()

    return Writer(write, file.close)
