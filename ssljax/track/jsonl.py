"""metrics.jsonl: one JSON object a logged step, floats at full precision."""

import json
import pathlib
from collections.abc import Mapping

from ssljax.core.files import write_atomic
from ssljax.core.types import Writer


def read(path: pathlib.Path) -> list[dict[str, float]]:
    """Return the logged steps of a metrics file; a line cut by a crash is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def make(path: pathlib.Path, *, start: int) -> Writer:
    """Return a writer that continues the file after step `start`.

    Lines of later steps, which a killed run logged and a resumed one will log again, are removed.
    """
    kept = [row for row in read(path) if row["step"] <= start]
    write_atomic(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
    file = path.open("a")

    def write(step: int, scalars: Mapping[str, float]) -> None:
        file.write(json.dumps({"step": step, **scalars}) + "\n")
        file.flush()

    return Writer(write, file.close)
