"""What a comparison page is told; apart from the page, which a server may never show."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class ArenaOptions(NamedTuple):
    """What a comparison page is to show and keep.

    folder:        of votes, transcripts and saved prompts; None keeps nothing and takes no votes
    data:          data sets to look at; they need a server with keys
    endpoints:     NAME=URL of other servers
    endpoint_keys: NAME=VARIABLE: where the environment has their keys
    allow_private: whether endpoints may be on this machine or in a private network
    """

    folder: Path | None = None
    data: Sequence[Path] = ()
    endpoints: Sequence[str] = ()
    endpoint_keys: Sequence[str] = ()
    allow_private: bool = False
