"""Train or validation by hash of a document's cluster: what repeats stays on one side.

Never by position or by file: copies and vendored files would be on both sides, and the validation
figure would measure memory. A document's side depends on its cluster only, so other data added
later does not move it. Reads and returns the table of documents.
"""

from collections import Counter

import pyarrow as pa

from data_pipelines.table import Step, column, kept, replace
from ssljax.core.errors import ConfigError
from ssljax.core.rng import hash64


def make(*, validation_fraction: float = 0.05, max_share: float = 0.25) -> Step:
    """Return the step.

    Args:
        validation_fraction: of the documents, in expectation.
        max_share: the largest part of the validation split that one cluster may be; larger ones
            (pages of one template) train, lest they decide the validation figure.

    Raises:
        ConfigError: a fraction that leaves a side empty.
    """
    if not 0 < validation_fraction < 1:
        raise ConfigError(f"validation_fraction {validation_fraction}; expected more than 0 and "
                          "less than 1, such as 0.05.")

    def apply(table: pa.Table) -> pa.Table:
        clusters, rows = column(table, "cluster"), kept(table).tolist()
        sizes = Counter(clusters[r] for r in rows)
        largest = max(1, max_share * validation_fraction * len(rows))
        chosen = choose(sizes, validation_fraction, largest)
        side = dict.fromkeys(sizes, "train") | dict.fromkeys(chosen, "validation")
        splits = [None] * table.num_rows
        for r in rows:
            splits[r] = side[clusters[r]]
        return replace(table, "split", splits)

    return apply


def choose(sizes: Counter[str], fraction: float, largest: float) -> set[str]:
    """Return the clusters for validation; at least one where there are two to choose from."""
    place = {c: hash64("split", c) for c, size in sizes.items() if size <= largest}
    chosen = {c for c, h in place.items() if h < fraction * 2**64}
    if not chosen and place and len(sizes) > 1:
        chosen = {min(place, key=place.__getitem__)}
    return chosen
