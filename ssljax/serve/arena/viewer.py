"""What the page may see of a data set: rows that match, and why others were dropped.

How rows are read is not the server's business: whoever starts it hands over functions.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

MOST_ROWS = 50                   # of one answer
LONGEST_PASSAGE = 512            # characters that a text is compared by: about 130 tokens


class Query(NamedTuple):
    """Which rows are wanted.

    text:   that they contain, in any case; "" for all
    split:  "" for all
    reason: "" for all, "kept" for those nothing has dropped, else why they were dropped
    start:  row number to go on at
    count:  rows at most
    """

    text: str = ""
    split: str = ""
    reason: str = ""
    start: int = 0
    count: int = 20


class Rows(NamedTuple):
    """Rows that were found.

    rows: {"number", "text", "facts": {name: value}, "image": whether there is one, "dropped",
          "detail", "step"} each, whatever is known of it
    next: the number to go on at; None after the last
    seen: rows that were looked at for it
    """

    rows: list[dict[str, Any]]
    next: int | None
    seen: int


class Example(NamedTuple):
    """A row among which neighbours are looked for: an image's file or a text, and its class."""

    row: int
    data: bytes | str
    label: str = ""


class Dataset(NamedTuple):
    """A data set that can be looked at; its functions may take a second, and run in threads.

    name:     of it
    about:    plain data for the page: "version", "read", "kept", "dropped": {reason: rows},
              "splits": {name: {"documents", ...}}, "note"
    find:     (query) -> rows
    image:    (row number) -> bytes of an image file, None if that row has none
    pictures: (count) -> its first images, at most so many
    images:   how many it has
    """

    name: str
    about: Mapping[str, Any]
    find: Callable[[Query], Rows]
    image: Callable[[int], bytes | None]
    pictures: Callable[[int], list[Example]]
    images: int = 0


def passages(dataset: Dataset, count: int) -> list[Example]:
    """Return the beginnings of the first texts of a data set, at most so many."""
    found: list[Example] = []
    start: int | None = 0
    while start is not None and len(found) < count:      # one look ends after some seconds
        rows = dataset.find(Query(reason="kept", start=start, count=count - len(found)))
        found += [Example(row["number"], row["text"][:LONGEST_PASSAGE]) for row in rows.rows
                  if row["text"].strip()]
        start = rows.next
    return found
