"""Bytes as ids: the identity, and the same ids through the library's file format."""

import pytest

from ssljax.tokenizers import bpe, byte

TEXTS = ["", "def f(x):\n    return x + 1\n", "\r\n\t\x00\x7f\u0085",
         "東京は 🙂 e\u0301", "<|endoftext|>"]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_the_bytes_and_decode_to_them(text):
    made = byte.make()
    assert made.encode(text) == list(text.encode()) == made.encode_batch([text])[0]
    assert made.decode_bytes([*made.encode(text), made.end_of_text]) == text.encode()


def test_the_vocabulary_is_256_bytes_and_the_end_of_text():
    assert (byte.make().vocab_size, byte.make().end_of_text) == (257, 256)


def test_the_definition_gives_the_same_ids_through_bpe():
    through = bpe.from_json(byte.definition())
    assert through[3:] == byte.make()[3:]
    for text in TEXTS:
        assert through.encode(text) == byte.make().encode(text)
        assert through.decode_bytes(through.encode(text)) == text.encode()


def test_an_id_outside_the_vocabulary_is_an_error():
    with pytest.raises(ValueError):
        byte.make().decode_bytes([257])
