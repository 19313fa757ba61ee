"""Keep records by the value of a field, such as a licence, a language or a label.

Reads record[field], a string or a number.
"""

from collections.abc import Sequence

from ssljax.core.errors import ConfigError
from ssljax.core.source import Filter, Record

TINY: dict = {"field": "label", "drop": (0,)}


def make(*, field: str, keep: Sequence[str | int] = (), drop: Sequence[str | int] = ()) -> Filter:
    """Return the rule that `field` is one of `keep`, or none of `drop`.

    Raises:
        ConfigError: both lists are given, or neither.
    """
    if bool(keep) == bool(drop):
        raise ConfigError(f"filter field: keep {tuple(keep)} and drop {tuple(drop)}; expected one "
                          "of the two lists.")

    def is_kept(record: Record) -> bool:
        return record[field] in keep if keep else record[field] not in drop

    return Filter(is_kept, {"field": field, "keep": list(keep), "drop": list(drop)})
