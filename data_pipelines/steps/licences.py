"""Keep documents under licences that permit it; read a source file's own SPDX tag.

A tag in the first lines (https://spdx.dev/learn/handling-license-info) goes before what the input
was said to be under. Reads and returns the table of documents, `licence` set from the tag; `detail`
is the licence.
"""

import re
from collections.abc import Sequence

import pyarrow as pa

from data_pipelines.table import Step, column, drop, kept, replace, texts
from ssljax.core.errors import ConfigError

ROWWISE = True

HEAD = 4000                    # characters in which a tag may be
TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+-]+(?:[ \t]+(?:OR|AND|WITH)[ \t]+"
                 r"[A-Za-z0-9.+-]+)*)")
# Of the permissive licences of The Stack v1.1 the most frequent, and the interpreter's own.
PERMISSIVE = ("MIT", "Apache-2.0", "BSD-3-Clause", "BSD-2-Clause", "ISC", "0BSD", "Unlicense",
              "CC0-1.0", "Zlib", "BSL-1.0", "MIT-0", "PSF-2.0", "Python-2.0", "PostgreSQL",
              "Artistic-2.0", "WTFPL")


def make(*, allowed: Sequence[str] = PERMISSIVE, unknown: bool = False) -> Step:
    """Return the step.

    Args:
        allowed: SPDX identifiers, in any case. "licence"
        unknown: whether documents of unknown licence are kept. "licence_unknown"

    Raises:
        ConfigError: nothing is allowed.
    """
    if not allowed and not unknown:
        raise ConfigError("licences: nothing is allowed; name SPDX identifiers such as MIT.")
    known = frozenset(name.lower() for name in allowed)

    def apply(table: pa.Table) -> pa.Table:
        named, verdicts = column(table, "licence"), {}
        rows = kept(table)
        for row, text in zip(rows.tolist(), texts(table, rows), strict=True):
            tag = TAG.search(text[:HEAD])
            named[row] = tag.group(1) if tag else named[row]
            if named[row] in (None, "", "unknown"):
                if not unknown:
                    verdicts[row] = ("licence_unknown", "")
            elif not permits(named[row].lower(), known):
                verdicts[row] = ("licence", named[row])
        return drop(replace(table, "licence", named), verdicts)

    return apply


def permits(expression: str, known: frozenset[str]) -> bool:
    """Say whether an SPDX expression permits by one of its alternatives, whole."""
    def plain(some: str) -> bool:
        # An exception only adds permission.
        return all(part.partition(" with ")[0].strip() in known for part in some.split(" and "))

    return any(plain(some) for some in re.sub(r"[ \t]+", " ", expression).split(" or "))
