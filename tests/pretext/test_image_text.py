"""Captioned images: what the record says, and what reaches the device."""

import jax
import numpy as np
import pytest

from ssljax.core.errors import ConfigError, DataError, UnreadableRecordError
from ssljax.pretext import image_text
from ssljax.sources import captioned, digits
from ssljax.tokenizers import byte

PRETEXT = image_text.make(size=8, channels=1, seq_len=24, tokenizer=byte.make())
SOURCE = captioned.make(source=digits.make(split="test"), classes="0123456789",
                        templates=("the digit {}.", "a {}"))


def test_captions_are_fixed_by_the_id_and_name_the_class():
    records = SOURCE.read(np.arange(40))
    texts = [r["text"] for r in records]
    assert texts == [r["text"] for r in SOURCE.read(np.arange(40))]
    assert all(t in (f"the digit {r['label']}.", f"a {r['label']}")
               for t, r in zip(texts, records, strict=True))
    assert {t[0] for t in texts} == {"a", "t"}
    other = captioned.make(source=digits.make(split="test"), classes="0123456789")
    assert other.fingerprint() != SOURCE.fingerprint() != digits.make(split="test").fingerprint()


def test_a_template_without_a_place_and_a_label_without_a_name_are_refused():
    with pytest.raises(ConfigError, match="no single {}"):
        captioned.make(source=SOURCE, classes="01", templates=("a digit",))
    with pytest.raises(DataError, match="needs one below 2"):
        captioned.make(source=digits.make(split="test"), classes="01").read(np.arange(40))


def test_tokens_are_the_caption_and_its_end_and_the_image_is_cropped():
    record = SOURCE.read(np.array([0]))[0]
    example = PRETEXT.example(record, np.random.default_rng(0))
    text = record["text"].encode()
    assert example["tokens"].tolist() == [*text] + [256] * (24 - len(text))
    assert example["tokens"].dtype == np.int32
    view = PRETEXT.views(jax.random.key(0), example)["image"]
    assert view.shape == (8, 8, 1)
    assert view.dtype == np.float32


def test_long_captions_end_and_one_of_several_is_drawn():
    record = {**SOURCE.read(np.array([0]))[0], "text": ["x" * 99, "y" * 99]}
    drawn = [PRETEXT.example(record, np.random.default_rng(i))["tokens"] for i in range(8)]
    assert all(t[-1] == 256 and (t[:-1] == t[0]).all() for t in drawn)
    assert {int(t[0]) for t in drawn} == {ord("x"), ord("y")}


def test_records_without_text_say_what_to_do():
    record = digits.make(split="test").read(np.array([0]))[0]
    with pytest.raises(UnreadableRecordError, match="captioned"):
        PRETEXT.example(record, np.random.default_rng(0))
