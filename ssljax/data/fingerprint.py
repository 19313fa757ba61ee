"""What a stream depends on, in at most LIMIT bytes, with as many names as fit.

A checkpoint holds it beside the step; on resume the fields that differ are the error's text.
"""

import hashlib
import json
from collections.abc import Mapping

LIMIT = 900         # bytes of JSON; with the step a checkpoint's data state is below 1 KB
LONGEST = 24        # characters of a value before it becomes a hash
SHARED = ("tokenizer",)    # one for all parts of a run, and export compares all of it


def shorten(parts: Mapping[str, Mapping[str, str]], own: Mapping[str, str]) -> dict[str, str]:
    """Return {**own, field or "part.field": value} with long values hashed, within LIMIT.

    Where the parts' fields are too many, each part is one hash; where the parts are, all are one.
    """
    shared = {field: fields[field] for fields in parts.values() for field in SHARED
              if field in fields}
    named = {name: {f: v for f, v in fields.items() if f not in shared}
             for name, fields in parts.items()}
    alone = len(parts) == 1
    levels = (
        {f if alone else f"{name}.{f}": short(v) for name, fields in named.items()
         for f, v in fields.items()},
        {name: digest(fields) for name, fields in named.items()},
        {"parts": digest(named)})
    rest = {**shared, **{f: short(v) for f, v in own.items()}}
    fitting = ({**level, **rest} for level in levels)
    return next((f for f in fitting if len(json.dumps(f)) <= LIMIT),
                {**levels[-1], **shared, "recipe": digest(own)})


def short(value: str) -> str:
    """Return a value, or its hash where it is long."""
    return value if len(value) <= LONGEST else digest(value)


def digest(value: object) -> str:
    """Return 12 hexadecimal digits that stand for plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
