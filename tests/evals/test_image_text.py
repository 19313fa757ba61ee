"""Zero-shot accuracy and retrieval between images and texts, on towers and by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError, DataError
from ssljax.evals import image_text_retrieval, zero_shot
from ssljax.models import text_encoder, vit
from ssljax.objectives import clip
from ssljax.pretext import image_text
from ssljax.sources import captioned, digits
from ssljax.tokenizers import byte

RNG = np.random.default_rng(0)
PRETEXT = image_text.make(size=8, channels=1, seq_len=24, tokenizer=byte.make())
MODEL, TEXT = vit.make(**vit.TINY), text_encoder.make(**text_encoder.TINY)
OBJECTIVE = clip.make(MODEL, text_model=TEXT, **clip.TINY)
SOURCE = captioned.make(source=digits.make(split="test"), classes="0123456789")
OPTIONS = {"model": MODEL, "text_model": TEXT, "plain": PRETEXT.plain, "tokenizer": byte.make(),
           "seq_len": 24, "source": SOURCE, "batch_size": 64}


def test_class_vectors_are_unit_means_of_the_sentences():
    known = {"a cat": [1.0, 0.0], "the cat": [0.0, 1.0], "a dog": [-1.0, 0.0], "the dog": [-1.0, 0]}
    found = zero_shot.class_vectors(lambda texts: np.array([known[t] for t in texts]),
                                    ["cat", "dog"], ["a {}", "the {}"])
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [-1, 0]])


def test_ranks_equal_the_loop_and_equal_captions_are_right_for_each_other():
    images, texts = RNG.normal(size=(12, 4)), RNG.normal(size=(12, 4))
    captions = np.arange(12) % 5
    similarity = images @ texts.T
    expected = []
    for i in range(12):
        order = np.argsort(-similarity[i])
        expected.append(next(r for r, j in enumerate(order) if captions[j] == captions[i]))
    right = captions[:, None] == captions
    assert image_text_retrieval.found_at(similarity, right).tolist() == expected
    found = image_text_retrieval.recalls(images, texts, captions)
    assert found["text_recall_at_1"][0] == np.mean(np.array(expected) < 1)
    assert found["text_recall_at_5"][0] == np.mean(np.array(expected) < 5)


@functools.cache
def towers():
    batch = {"image": jnp.zeros((8, 8, 8, 1)), "tokens": jnp.full((8, 24), 256)}
    return OBJECTIVE.init(jax.random.key(3), batch)


def test_judgements_stand_beside_the_untrained_towers():
    found = zero_shot.make(OBJECTIVE, classes="0123456789", **OPTIONS).run(*towers())
    assert set(found) == {"zero_shot", "zero_shot_random_init"}
    assert all(0 <= low <= value <= high <= 1 for value, (low, high) in found.values())
    found = image_text_retrieval.make(OBJECTIVE, pairs=50, **OPTIONS).run(*towers())
    recalls = [found[f"text_recall_at_{k}"][0] for k in (1, 5, 10)]
    assert recalls == sorted(recalls)
    assert recalls[-1] > recalls[0]
    assert {f"{n}_recall_at_{k}{c}" for n in ("text", "image") for k in (1, 5, 10)
            for c in ("", "_random_init")} == set(found)


def test_other_objectives_and_sources_without_names_or_texts_are_refused():
    with pytest.raises(ConfigError, match="names of 3 classes"):
        zero_shot.make(OBJECTIVE, classes="012", **OPTIONS).run(*towers())
    with pytest.raises(ConfigError, match="text tower"):
        zero_shot.make(OBJECTIVE, classes="0123456789", **OPTIONS).run(
            {"encoder": towers()[0]["encoder"]}, towers()[1])
    plain = {**OPTIONS, "source": digits.make(split="test")}
    with pytest.raises(DataError, match="no text"):
        image_text_retrieval.make(OBJECTIVE, **plain).run(*towers())
