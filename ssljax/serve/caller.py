"""Who makes a request."""

from typing import NamedTuple


class Caller(NamedTuple):
    """Who asks.

    id:     of the key; "" where no keys are needed
    admin:  whether it may use /admin
    models: names that it may use; None for all
    """

    id: str = ""
    admin: bool = False
    models: frozenset[str] | None = None
