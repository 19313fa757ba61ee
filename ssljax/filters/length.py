"""Keep records whose field has a length within bounds: tokens, bytes of a text, samples of audio.

Reads record[field], anything with a length.
"""

from ssljax.core.errors import ConfigError
from ssljax.core.source import Filter, Record

TINY: dict = {"least": 3}


def make(*, field: str = "tokens", least: int = 0, most: int = 0) -> Filter:
    """Return the rule least <= len(record[field]) <= most; a `most` of 0 is no bound.

    Raises:
        ConfigError: no length is within the bounds.
    """
    if most and most < least or least < 0:
        raise ConfigError(f"filter length: least {least} and most {most} leave nothing; expected "
                          "0 <= least <= most, or most 0 for no bound.")

    def keep(record: Record) -> bool:
        return least <= len(record[field]) <= (most or float("inf"))

    return Filter(keep, {"field": field, "least": least, "most": most})
