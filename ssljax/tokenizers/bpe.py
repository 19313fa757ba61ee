"""Byte-level byte-pair encoding on the Hugging Face `tokenizers` library.

Sennrich et al. 2016, https://arxiv.org/abs/1508.07909, over bytes as in GPT-2 (Radford et al.
2019): any text is representable and nothing is normalised, so decode_bytes(encode(text)) is the
text's UTF-8, byte for byte. `train` reads texts and returns the definition (a tokenizer.json);
`make` reads that file.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers, trainers

from ssljax.core.errors import ConfigError, DataError
from ssljax.core.tokenizer import Tokenizer

END_OF_TEXT = "<|endoftext|>"
SMALLEST = 257                  # the bytes and END_OF_TEXT


def make(*, path: str) -> Tokenizer:
    """Load a byte-level tokenizer from the tokenizer.json at `path`.

    Raises:
        DataError: no such file, or not a byte-level tokenizer with an <|endoftext|>.
    """
    try:
        return from_json(Path(path).read_text("utf-8"), path)
    except OSError as err:
        raise DataError(f"Tokenizer {path} cannot be read: {err.strerror}; expected the "
                        "tokenizer.json of a curated dataset or an artefact.") from err


def from_json(definition: str, where: str = "tokenizer.json") -> Tokenizer:
    """Return the tokenizer of a definition; `where` names it in messages.

    Raises:
        DataError: the definition is not a byte-level tokenizer with an <|endoftext|>.
    """
    try:
        library = Library.from_str(definition)
    except Exception as err:    # the library raises a bare Exception for any defect
        raise DataError(f"{where} is not a tokenizer.json: {err}") from err
    end_of_text = library.token_to_id(END_OF_TEXT)
    if end_of_text is None:
        raise DataError(f"{where} has no token {END_OF_TEXT}; train one with `ssljax curate`.")
    # Documents and prompts are text: the characters "<|endoftext|>" in them are no boundary.
    library.encode_special_tokens = True
    table = byte_table(library, where)

    def encode(text: str) -> list[int]:
        return library.encode(text, add_special_tokens=False).ids

    def encode_batch(texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in library.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode_bytes(ids: Sequence[int]) -> bytes:
        return b"".join([table[i] for i in ids])

    return Tokenizer(encode, encode_batch, decode_bytes, len(table), end_of_text,
                     hashlib.sha256(definition.encode()).hexdigest())


def train(texts: Iterable[str], *, vocab_size: int) -> str:
    """Return the definition of a BPE learned from `texts`; equal texts give an equal definition.

    Args:
        texts: what to learn from; held in memory only as counts of distinct words.
        vocab_size: number of ids at most, the 256 bytes and <|endoftext|> among them; few or
            uniform texts may have fewer pairs to merge.

    Raises:
        ConfigError: `vocab_size` has no room for every byte.
    """
    if vocab_size < SMALLEST:
        raise ConfigError(f"vocab_size {vocab_size} is less than {SMALLEST}: 256 bytes and "
                          f"{END_OF_TEXT}.")
    library = Library(models.BPE())
    # GPT-2's pattern splits "<|endoftext|>" into three, so no merge can spell the special token.
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    library.decoder = decoders.ByteLevel()
    library.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END_OF_TEXT], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return library.to_str()


def alphabet() -> dict[str, int]:
    """Return GPT-2's printable stand-in of each byte: character -> byte.

    Printable Latin-1 stands for itself; the other 68 bytes, in order, are U+0100 and up.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def byte_table(library: Library, where: str) -> list[bytes]:
    """Return the bytes of every id; added tokens, which are boundaries and no text, have none."""
    byte_of, vocab = alphabet(), library.get_vocab(with_added_tokens=True)
    added = library.get_added_tokens_decoder()       # made anew at every call
    tokens = {t: i for t, i in vocab.items() if i not in added}
    if library.normalizer or byte_of.keys() - tokens or not byte_of.keys() >= set().union(*tokens):
        raise DataError(f"{where} is not lossless: expected a byte-level vocabulary with all 256 "
                        "bytes and no normaliser. Train one with `ssljax curate`.")
    table = [b""] * (max(vocab.values()) + 1)
    for token, i in tokens.items():
        table[i] = bytes(byte_of[c] for c in token)
    return table
