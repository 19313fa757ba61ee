"""Drop documents from an address that a better document has: one page, crawled again.

Addresses are compared as C4 does (tensorflow_datasets/text/c4_utils.py): without scheme, "www.",
tracking parameters, fragment and last slash. A grouped step over the table of documents; `detail`
is the survivor's id and `cluster` its cluster. Rows without an address repeat nothing.
"""

import functools
import re

import numpy as np
import pyarrow as pa

from data_pipelines import equal_keys
from data_pipelines.engine.plan import Grouped
from data_pipelines.survivors import require

SCHEME = re.compile(r"^https?://(www\.)?", re.IGNORECASE)
TRACKING = re.compile(r"(#.*|\?(utm_|ref|feed).*)$", re.DOTALL)


def make(*, url: str = "url", quality: str = "") -> Grouped:
    """Return the step.

    Args:
        url: column of addresses.
        quality: column of numbers by which survivors are preferred; empty: length and id decide.
    """
    return equal_keys.grouped(functools.partial(addresses, url=url), "url_duplicate", quality)


def addresses(table: pa.Table, rows: np.ndarray, *, url: str) -> list[str | None]:
    """Return the address of each row."""
    return [address(u) for u in require(table, url).take(pa.array(rows, pa.int64())).to_pylist()]


def address(url: str | None) -> str | None:
    """Return a URL in the one spelling of its page; None for none."""
    host, slash, path = TRACKING.sub("", SCHEME.sub("", (url or "").strip())).partition("/")
    return (host.lower() + slash + path).rstrip("/") or None
