"""Byte-level BPE: nothing lost, nothing special in plain text, the same training everywhere."""

import json
import subprocess
import sys

import pytest

from ssljax.core.errors import ConfigError, DataError
from ssljax.tokenizers import bpe, byte

TEXTS = ["def f(x):\n    return x + 1\n" * 20, "The cat sat on the mat. " * 20,
         "naïve café — 東京 🙂 <|endoftext|> \t\r\n\x00\x85"]
AWKWARD = ["", " ", "  leading", "trailing  \n\n", "\r\n\t\x00\x1f\x7f\u0085\u2028", "é e\u0301",
           "東京は夜の七時", "🙂👩‍👩‍👧", "<|endoftext|>", "don't\n    indent", "\ufeffbom", "İı"]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.from_json(bpe.train(TEXTS, vocab_size=300))


@pytest.mark.parametrize("text", AWKWARD + TEXTS)
def test_decoding_returns_the_exact_bytes(tokenizer, text):
    assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()
    assert tokenizer.encode_batch([text, "x"])[0] == tokenizer.encode(text)


def test_ids_cut_inside_a_character_decode_to_a_prefix_of_its_bytes(tokenizer):
    ids = tokenizer.encode("a🙂")
    pieces = [tokenizer.decode_bytes(ids[:n]) for n in range(len(ids) + 1)]
    assert all("a🙂".encode().startswith(p) for p in pieces)
    assert any(0 < len(p) - 1 < 4 for p in pieces), "the emoji was one token; the test is void"


def test_the_literal_end_of_text_in_a_document_is_text(tokenizer):
    ids = tokenizer.encode("a<|endoftext|>b")
    assert tokenizer.end_of_text not in ids
    assert tokenizer.end_of_text not in tokenizer.encode_batch(["<|endoftext|>"])[0]


def test_a_corpus_full_of_the_literal_never_merges_into_the_special_id():
    made = bpe.from_json(bpe.train(["<|endoftext|>" * 1000], vocab_size=400))
    ids = made.encode("<|endoftext|>" * 3)
    assert made.end_of_text not in ids
    assert made.decode_bytes(ids) == b"<|endoftext|>" * 3


def test_boundary_tokens_decode_to_nothing(tokenizer):
    assert tokenizer.decode_bytes([tokenizer.end_of_text]) == b""


def test_training_learns_merges_and_respects_the_vocabulary(tokenizer):
    assert tokenizer.vocab_size == 300
    assert len(tokenizer.encode("The cat sat")) < len("The cat sat")


def test_training_is_equal_in_another_process_with_other_hash_seeds():
    code = ("import sys, json; from ssljax.tokenizers import bpe;"
            "sys.stdout.buffer.write(bpe.train(json.load(sys.stdin), vocab_size=300).encode())")
    runs = [subprocess.run([sys.executable, "-c", code], input=json.dumps(texts).encode(),
                           capture_output=True, check=True, env={"PYTHONHASHSEED": seed}).stdout
            for seed, texts in (("1", TEXTS), ("2", TEXTS), ("3", TEXTS[::-1]))]
    assert runs[0].decode() == runs[1].decode() == runs[2].decode()
    assert runs[0].decode() == bpe.train(TEXTS, vocab_size=300)


def test_make_reads_the_file_that_train_defines(tmp_path, tokenizer):
    path = tmp_path / "tokenizer.json"
    path.write_text(bpe.train(TEXTS, vocab_size=300), "utf-8")
    made = bpe.make(path=str(path))
    assert made.fingerprint == tokenizer.fingerprint
    assert made.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


@pytest.mark.parametrize("content, says", [
    (None, "cannot be read"), ("{", "not a tokenizer.json"),
    (json.dumps(json.loads(byte.definition()) | {"added_tokens": []}), "no token"),
    (json.dumps(json.loads(byte.definition()) | {"normalizer": {"type": "Lowercase"}}),
     "not lossless")])
def test_a_bad_definition_is_named(tmp_path, content, says):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=says) as caught:
        bpe.make(path=str(path))
    assert str(path) in str(caught.value)


def test_a_vocabulary_without_room_for_bytes_is_refused():
    with pytest.raises(ConfigError, match="vocab_size 256 is less than 257"):
        bpe.train(TEXTS, vocab_size=256)


def test_the_alphabet_is_the_librarys():
    from tokenizers import pre_tokenizers
    assert sorted(bpe.alphabet()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    encoded = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("\x00", "\x7f", "\xad", "é", "🙂"):
        stand_ins = encoded.pre_tokenize_str(text)[0][0]
        assert bytes(bpe.alphabet()[c] for c in stand_ins) == text.encode()
