"""Drop near-duplicates, checked exactly, and name clusters that must not be split.

MinHash with bands over word 5-grams finds candidates (Broder 1997,
https://doi.org/10.1109/SEQUEN.1997.666900; Lee et al. 2021, https://arxiv.org/abs/2107.06499); no
document is dropped for a hash alone. Of 4,000 pairs planted in 25,880 web documents, every one of
Jaccard similarity 0.8 or more was found (tests/data_pipelines/test_recall.py).

Two thresholds: documents as similar as `drop` are copies, and one goes; documents of which the
smaller shares `cluster` of its text (an edited file, a vendored copy in a longer one) are kept and
share a cluster, which `split` keeps on one side.

Reads and returns the table of documents, the same for any order of rows; `detail` is
"<survivor's id> <similarity>". The survivor is, of those alike, the one of best quality where a
column has it, then the longest, then the smallest id. The rounds are in near_rounds.py.
"""

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines import near_rounds
from data_pipelines.engine.plan import Emitted, Grouped, Loop, Round, Rows
from data_pipelines.kernels import bands, containment
from data_pipelines.kernels.minhash import Shingles, shingle, signatures
from data_pipelines.kernels.words import mix
from data_pipelines.table import column, kept
from data_pipelines.verdicts import apply_verdicts
from ssljax.core.errors import ConfigError


def make(*, words: int = 5, columns: int = 128, rows: int = 4, drop: float = 0.8,
         cluster: float = 0.5, quality: str = "") -> Grouped:
    """Return the step.

    Args:
        words: words of a shingle.
        columns: of a MinHash signature, a power of two.
        rows: columns of a band; 32 bands of 4 find 99.98 % of pairs of similarity 0.7.
        drop: Jaccard similarity of shingles from which a document is a copy of its survivor.
        cluster: share of the smaller document's shingles from which two share a cluster.
        quality: column of numbers by which survivors are preferred, more is better; empty: none.

    Raises:
        ConfigError: thresholds that contradict each other, or rows that do not divide.
    """
    if not 0 < cluster <= drop <= 1:
        raise ConfigError(f"near_duplicates: drop {drop} and cluster {cluster}; expected "
                          "0 < cluster <= drop <= 1, so that a copy is in its survivor's cluster.")
    if words < 1 or rows < 1 or columns.bit_count() != 1 or columns % rows:
        raise ConfigError(f"near_duplicates: words {words}, columns {columns}, rows {rows}; "
                          "expected at least 1, columns a power of two, and rows a divisor of it.")
    rounds = (
        Round("candidates", ("bands", "sketch"), near_rounds.candidates),
        Round("verify", ("pairs",), functools.partial(near_rounds.verify, least=cluster)),
        Loop("components", (Round("large", ("links",), near_rounds.large),
                            Round("small", ("down",), near_rounds.small)), "links"),
        Round("families", ("edges", "links"), near_rounds.families),
        Round("survivors", ("families",), functools.partial(near_rounds.judge, drop=drop)),
        Round("follow", ("repeats", "renamed"), near_rounds.follow),
    )
    return Grouped(functools.partial(emit, words=words, columns=columns, band=rows,
                                     quality=quality), rounds, apply_verdicts)


def emit(table: pa.Table, first: int, *, words: int, columns: int, band: int,
         quality: str) -> Emitted:
    """Return band keys, sampled shingles and clusters of a block, and what pairs are judged by."""
    rows = kept(table)
    texts = table["text"].take(pa.array(rows)).combine_chunks()
    sets = shingle(texts, words)
    made = signatures(sets, columns)
    known = facts(table, rows, quality)
    numbers = rows + first
    nothing = np.zeros(len(rows) + 1, np.int64)
    signed = made.view([("signature", np.uint32, (columns,))]).reshape(-1)
    return {"bands": band_records(bands.band_keys(made, band), numbers, preference(known)),
            "sketch": sketches(sets, numbers), "repeats": repeats(table, first),
            "signed": Rows(numbers, signed, np.empty(0, np.uint64), nothing),
            "sets": Rows(numbers, known, sets.hashes, sets.starts)}


def facts(table: pa.Table, rows: np.ndarray, quality: str) -> np.ndarray:
    """Return what decides between survivors, of each row.

    Raises:
        ConfigError: no column of that name.
    """
    if quality and quality not in table.schema.names:
        raise ConfigError(f'near_duplicates: no column "{quality}" to judge survivors by; put the '
                          "step that writes it before this one, or leave `quality` empty.")
    made = np.zeros(len(rows), near_rounds.FACTS)
    if quality:
        scores = table[quality].cast(pa.float64()).to_numpy()[rows]
        made["quality"] = np.nan_to_num(scores, nan=-np.inf)
    made["length"] = pc.utf8_length(table["text"]).to_numpy()[rows]
    made["id"] = np.array(column(table, "id"), "S16")[rows]
    return made


def preference(known: np.ndarray) -> np.ndarray:
    """Return a number that orders survivors nearly as they are judged, smallest first, uint64.

    It decides which of a bucket's documents are compared, no more: 16 bits of quality, 24 of
    length, 24 of id.
    """
    bits = known["quality"].astype(np.float32).view(np.uint32)
    rising = np.where(bits >> 31, ~bits, bits | np.uint32(2**31)).astype(np.uint64) >> np.uint64(16)
    length = np.minimum(known["length"], 2**24 - 1).astype(np.uint64)
    letters = np.ascontiguousarray(known["id"]).view(np.uint8).reshape(-1, 16)[:, :6]
    digits = (letters & 15).astype(np.uint64) + 9 * (letters >> 6)          # of hexadecimals
    ids = (digits << np.arange(20, -1, -4, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    return ((np.uint64(2**16 - 1) - rising) << np.uint64(48)
            | (np.uint64(2**24 - 1) - length) << np.uint64(24) | ids)


def band_records(keys: np.ndarray, numbers: np.ndarray, preferred: np.ndarray) -> pa.Table:
    """Return a record for each band of each document; keys of two bands never meet."""
    count = len(keys)
    keys = mix(keys + np.arange(1, count + 1, dtype=np.uint64)[:, None])
    return pa.table({"key": keys.ravel(), "following": np.roll(keys, -1, axis=0).ravel(),
                     "row": np.tile(numbers, count), "preference": np.tile(preferred, count)})


def sketches(sets: Shingles, numbers: np.ndarray) -> pa.Table:
    """Return the sampled shingles of the documents, and how many its document has."""
    sampled = sets.hashes % np.uint64(containment.SAMPLED) == 0
    owners = np.repeat(np.arange(len(numbers)), sets.counts())[sampled]
    counts = np.bincount(owners, minlength=len(numbers))
    return pa.table({"key": sets.hashes[sampled], "row": numbers[owners],
                     "sampled": counts[owners]})


def repeats(table: pa.Table, first: int) -> pa.Table:
    """Return the rows in a cluster of another's name: where its name changes, theirs does."""
    rows = np.flatnonzero(pc.not_equal(table["cluster"], table["id"]).to_numpy())
    clusters = table["cluster"].take(pa.array(rows)).to_pylist()
    return pa.table({"key": near_rounds.name_keys(clusters), "row": rows + first,
                     "cluster": pa.array(clusters, pa.string())})
