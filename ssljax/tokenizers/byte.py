"""UTF-8 bytes as ids 0 to 255, and 256 for the end of a text: nothing to train, nothing lost.

Reads text, returns one id a byte, as ByT5 does (Xue et al. 2022, https://arxiv.org/abs/2105.13626).
"""

import hashlib
import json
from collections.abc import Sequence

from ssljax.core.tokenizer import Tokenizer
from ssljax.tokenizers.bpe import END_OF_TEXT, alphabet

TINY: dict = {}
VOCAB_SIZE = 257


def make() -> Tokenizer:
    """Return the byte tokenizer."""
    def encode(text: str) -> list[int]:
        return list(text.encode())

    def encode_batch(texts: Sequence[str]) -> list[list[int]]:
        return [encode(t) for t in texts]

    def decode_bytes(ids: Sequence[int]) -> bytes:
        return bytes([i for i in ids if i != VOCAB_SIZE - 1])

    return Tokenizer(encode, encode_batch, decode_bytes, VOCAB_SIZE, VOCAB_SIZE - 1,
                     hashlib.sha256(definition().encode()).hexdigest())


def definition() -> str:
    """Return the same tokenizer as a tokenizer.json without merges, which `bpe.make` reads.

    Datasets and artefacts carry one kind of file, whichever tokenizer made their ids.
    """
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": False}
    special = {"id": 256, "content": END_OF_TEXT, "single_word": False, "lstrip": False,
               "rstrip": False, "normalized": False, "special": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
             "ignore_merges": False, "vocab": alphabet(), "merges": []}
    return json.dumps({"version": "1.0", "truncation": None, "padding": None,
                       "added_tokens": [special], "normalizer": None, "pre_tokenizer": level,
                       "post_processor": None, "decoder": level, "model": model})
