"""Drop documents from an address that a better document has: one page, crawled again.

Addresses are compared as C4 does (tensorflow_datasets/text/c4_utils.py): without scheme, "www.",
tracking parameters, fragment and last slash. Reads and returns the table of documents; `detail` is
the survivor's id and `cluster` its cluster. Rows without an address repeat nothing.
"""

import re

import pyarrow as pa

from data_pipelines.survivors import drop_repeats, rank, require
from data_pipelines.table import Step

SCHEME = re.compile(r"^https?://(www\.)?", re.IGNORECASE)
TRACKING = re.compile(r"(#.*|\?(utm_|ref|feed).*)$", re.DOTALL)


def make(*, url: str = "url", quality: str = "") -> Step:
    """Return the step.

    Args:
        url: column of addresses.
        quality: column of numbers by which survivors are preferred; empty: length and id decide.
    """
    def apply(table: pa.Table) -> pa.Table:
        ranked = rank(table, quality)
        urls = require(table, url).take(pa.array(ranked, pa.int64())).to_pylist()
        return drop_repeats(table, ranked, [address(u) for u in urls], "url_duplicate")

    return apply


def address(url: str | None) -> str | None:
    """Return a URL in the one spelling of its page; None for none."""
    host, slash, path = TRACKING.sub("", SCHEME.sub("", (url or "").strip())).partition("/")
    return (host.lower() + slash + path).rstrip("/") or None
