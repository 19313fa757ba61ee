"""metrics.jsonl: one JSON object a logged step, floats at full precision."""

import json
import pathlib
from collections.abc import Mapping

from ssljax.core.files import read_json_lines, write_atomic
from ssljax.core.types import Writer


def make(path: pathlib.Path, *, start: int) -> Writer:
    """Return a writer that continues the file after step `start`.

    Lines of later steps, which a killed run logged and a resumed one will log again, are removed.
    """
    kept = [row for row in read_json_lines(path) if row["step"] <= start]
    write_atomic(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
    file = path.open("a")

    def write(step: int, scalars: Mapping[str, float]) -> None:
        file.write(json.dumps({"step": step, **scalars}) + "\n")
        file.flush()

    return Writer(write, file.close)
