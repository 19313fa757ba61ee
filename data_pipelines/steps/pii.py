"""Find personal data and secrets, count them by kind, and redact them or drop their documents.

Kinds, patterns and checks: data_pipelines/kernels/pii.py. Reads and returns the table of documents,
with a column `pii_<kind>` (int32, findings in the text) for each kind; null where dropped before.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import pyarrow as pa

from data_pipelines.kernels.pii import KINDS, find_pii, redact
from data_pipelines.table import Step, add_column, column, drop, kept, replace, texts
from ssljax.core.errors import ConfigError, nearest

ROWWISE = True


def make(*, kinds: Sequence[str] = KINDS, action: Literal["redact", "count"] = "redact",
         replacement: str = "<{kind}>", replacements: Mapping[str, str] | None = None,
         max_findings: int = -1) -> Step:
    """Return the step.

    Args:
        kinds: what to look for: secret, email, iban, card, ip, phone.
        action: "redact" changes the text, "count" only counts.
        replacement: what is written in the place of a finding; {kind} is its kind.
        replacements: kind -> another text for that kind.
        max_findings: most findings of a document that is kept, -1 for any number; dolma drops
            from 6 (https://arxiv.org/abs/2402.00159). "pii"

    Raises:
        ConfigError: an unknown kind.
    """
    for kind in (*kinds, *(replacements or {})):
        if kind not in KINDS:
            raise ConfigError(f'pii has no kind "{kind}"; {nearest(kind, KINDS)}')
    written = {k: replacement.replace("{kind}", k.upper()) for k in kinds} | dict(
        replacements or {})

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table).tolist()
        values = column(table, "text")
        counts: list[Counter[str] | None] = [None] * table.num_rows
        verdicts = {}
        for row, text in zip(rows, texts(table, kept(table)), strict=True):
            spans = find_pii(text or "", kinds)
            found = counts[row] = Counter(span.kind for span in spans)
            if 0 <= max_findings < len(spans):
                verdicts[row] = ("pii", " ".join(f"{k} {n}" for k, n in sorted(found.items())))
            if action == "redact" and spans:
                values[row] = redact(text, spans, written)
        table = drop(replace(table, "text", values), verdicts)
        for kind in kinds:
            found = [None if c is None else c[kind] for c in counts]
            table = add_column(table, f"pii_{kind}", pa.array(found, pa.int32()))
        return table

    return apply
