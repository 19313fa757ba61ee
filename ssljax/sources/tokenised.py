"""The texts of another source as ids, tokenised once into the cache: training straight from text.

    source = dict(name="tokenised", tokenizer=dict(name="bpe", path="tokenizer.json"),
                  source=dict(name="parquet", path="texts/", fields=dict(text="body")))

`ssljax curate` does the same with filters, removal of duplicates and an account of every document;
this is the short way. Returns {"id": uint32 [2], "tokens": int32 [n]}.
"""

from collections.abc import Iterator

import numpy as np

from ssljax.core.cache import entry
from ssljax.core.errors import DataError
from ssljax.core.source import Record, Source, Vocabulary, windows
from ssljax.core.tokenizer import Tokenizer
from ssljax.sources.materialised import open_store, write_records
from ssljax.sources.mixture import refuse_mixture


def make(*, source: Source, tokenizer: Tokenizer, field: str = "text", cache: str) -> Source:
    """Return the ids of record[field] of every record of `source`.

    Args:
        source: records with a string.
        tokenizer: text to ids.
        field: the string's name.
        cache: folder of the ids.

    Raises:
        ConfigError: the source is a mixture.
        DataError: a record has no such field, or it is no string.
    """
    refuse_mixture(source, "tokenised.source")
    key = {"source": dict(source.fingerprint()), "records": len(source), "field": field,
           "tokenizer": tokenizer.fingerprint}
    folder = entry(cache, "tokens", key, lambda folder: write_records(
        folder, encoded(source, tokenizer, field)))
    vocabulary = Vocabulary(tokenizer.vocab_size, tokenizer.end_of_text, tokenizer.fingerprint)
    return open_store(folder, f"tokens of {field}", vocabulary=vocabulary)


def encoded(source: Source, tokenizer: Tokenizer, field: str) -> Iterator[dict[str, np.ndarray]]:
    """Yield {"tokens"} of each record, tokenised a window at a time."""
    for records in windows(source):
        texts = [text_of(record, field) for record in records]
        yield from ({"tokens": np.array(ids, np.int32)} for ids in tokenizer.encode_batch(texts))


def text_of(record: Record | Exception, field: str) -> str:
    """Return a record's text.

    Raises:
        DataError: there is none.
    """
    if isinstance(record, Exception):
        raise record
    if not isinstance(record.get(field), str):
        raise DataError(f"A record has no text in {field!r}: it has {sorted(record)}. Set "
                        "source.field, or the fields of the source within.")
    return record[field]
