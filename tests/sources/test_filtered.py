"""Filters: judged once, exact ever after, and part of the fingerprint."""

import pickle

import numpy as np
import pytest

from ssljax.core.errors import ConfigError, DataError
from ssljax.core.source import Filter, SizedSource
from ssljax.filters import field, length
from ssljax.sources import arrays, filtered
from tests.contracts.cases import Sentences
from tests.data.test_stream import Numbers


def test_the_records_kept_are_those_of_the_rule_unchanged(tmp_path):
    inner = Sentences(100)
    source = filtered.make(source=inner, filter=length.make(least=8, most=12), cache=str(tmp_path))
    wanted = [r for r in inner.read(np.arange(100)) if 8 <= len(r["tokens"]) <= 12]
    found = source.read(np.arange(len(source)))
    assert isinstance(source, SizedSource) and 0 < len(found) < 100
    for a, b in zip(found, wanted, strict=True):
        assert np.array_equal(a["id"], b["id"]) and np.array_equal(a["tokens"], b["tokens"])
    assert source.lengths().tolist() == [len(r["tokens"]) for r in wanted]


def test_records_are_judged_once(tmp_path):
    judged = []

    def keep(record):
        judged.append(record["value"])
        return record["value"] % 2 == 0

    rule = Filter(keep, {"rule": "even"})
    for _ in range(2):
        source = filtered.make(source=Numbers(), filter=rule, cache=str(tmp_path))
    assert len(judged) == 40 and len(source) == 20
    filtered.make(source=Numbers(), filter=Filter(keep, {"rule": "odd"}), cache=str(tmp_path))
    assert len(judged) == 80


def test_unreadable_records_are_left_out_and_counted(tmp_path):
    source = filtered.make(source=Numbers(bad=(3, 4)), filter=field.make(field="value", drop=[0]),
                           cache=str(tmp_path))
    assert len(source) == 37
    counts = next(tmp_path.glob("filters/*/counts.json")).read_text()
    assert '"unreadable": 2' in counts and '"dropped": 1' in counts


def test_the_fingerprint_names_rule_and_survivors_and_filters_nest(tmp_path):
    def of(least):
        return filtered.make(source=Sentences(60), filter=length.make(least=least),
                             cache=str(tmp_path))

    a, b = of(8).fingerprint(), of(9).fingerprint()
    assert {k for k in a if a[k] != b[k]} == {"filter", "kept"}
    assert a["kept"].startswith(f"{len(of(8))} of 60 ")
    twice = filtered.make(source=of(8), filter=length.make(most=20), cache=str(tmp_path))
    assert a["kept"] in twice.fingerprint()["kept"] != a["kept"]
    assert len(twice) < len(of(8))


def test_the_pickle_is_small(tmp_path):
    source = filtered.make(source=Sentences(200), filter=length.make(least=8), cache=str(tmp_path))
    assert len(pickle.dumps(source)) < 600
    assert len(pickle.loads(pickle.dumps(source))) == len(source)


def test_a_filter_that_leaves_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="keeps none of 60 records; loosen it"):
        filtered.make(source=Sentences(60), filter=length.make(least=99), cache=str(tmp_path))


def test_rules_by_value_and_by_length():
    assert field.make(field="a", keep=["x"]).keep({"a": "x"})
    assert not field.make(field="a", drop=["x"]).keep({"a": "x"})
    rule = length.make(field="text", least=1, most=3).keep
    assert [rule({"text": t}) for t in ("", "a", "abc", "abcd")] == [False, True, True, False]
    for keep, drop in ((["x"], ["y"]), ([], [])):
        with pytest.raises(ConfigError, match="expected one of the two lists"):
            field.make(field="a", keep=keep, drop=drop)
    with pytest.raises(ConfigError, match="leave nothing"):
        length.make(least=5, most=4)


def test_a_source_without_lengths_stays_without(tmp_path):
    inner = arrays.from_mapping({"label": np.arange(4)})
    source = filtered.make(source=inner, filter=field.make(field="label", keep=[2]),
                           cache=str(tmp_path))
    assert not isinstance(source, SizedSource) and int(source.read(np.array([0]))[0]["label"]) == 2
