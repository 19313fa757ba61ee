"""The digits: real images, one fixed split, nothing in both."""

import builtins

import numpy as np
import pytest

from ssljax.core.errors import MissingExtraError
from ssljax.core.source import Source
from ssljax.sources import digits

sklearn_datasets = pytest.importorskip("sklearn.datasets")


def everything(split):
    source = digits.make(split=split)
    return source.read(np.arange(len(source)))


def test_the_splits_partition_the_images_about_four_to_one():
    train, test = everything("train"), everything("test")
    assert len(train) + len(test) == 1797
    assert 0.77 < len(train) / 1797 < 0.83
    assert not {r["id"].tobytes() for r in train} & {r["id"].tobytes() for r in test}


def test_images_are_the_librarys_scaled_to_255():
    bunch = sklearn_datasets.load_digits()
    known = {np.round(i * 255 / 16).astype(np.uint8).tobytes(): int(t)
             for i, t in zip(bunch.images, bunch.target, strict=True)}
    for record in everything("test"):
        assert record["image"].shape == (8, 8, 1) and record["image"].dtype == np.uint8
        assert known[record["image"].tobytes()] == record["label"]
    assert max(r["image"].max() for r in everything("test")) == 255


def test_every_class_is_in_both_splits():
    for split in ("train", "test"):
        assert {r["label"] for r in everything(split)} == set(range(10))


def test_it_is_a_source_with_a_fingerprint_by_split():
    assert isinstance(digits.make(), Source)
    assert digits.make().fingerprint() == digits.make(split="train").fingerprint()
    assert digits.make().fingerprint() != digits.make(split="test").fingerprint()


def test_without_the_library_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    digits.load.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"scikit-learn .*ssljax\[digits\]"):
        digits.make()
