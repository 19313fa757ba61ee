"""What a recipe reads: a source lists its input before anything is read, and reads what it listed.

A recipe's first step makes one. Equal listings are equal input: then nothing is done twice. A
source that fetches (a crawl, a stream) does so when it is asked for the listing, into files that
stay, and lists those.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from data_pipelines.listing import Listing


class Source(NamedTuple):
    """How an input is listed and read.

    listing: (folders to leave out) -> what there is
    read:    some rows of the listing's files -> tables of documents
    """

    listing: Callable[[Sequence[str]], Listing]
    read: Callable[[pa.Table], pa.Table | Iterator[pa.Table]]

    def __call__(self, files: pa.Table) -> pa.Table | Iterator[pa.Table]:
        """Read listed files, as the engine calls a step."""
        return self.read(files)
