"""Rows of the stream: parts on their own, unreadable records redrawn, fingerprints by field."""

import dataclasses
import json
import pickle
from collections import Counter

import numpy as np
import pytest

from ssljax.core.errors import DataError, UnreadableRecordError
from ssljax.core.rng import record_id
from ssljax.core.source import read_each
from ssljax.data.fingerprint import LIMIT, shorten
from ssljax.data.mixture import make_schedule
from ssljax.data.stream import TRIES, Stream, stream_of


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Records of their own number; those in `bad` cannot be read."""

    count: int = 40
    bad: tuple[int, ...] = ()
    name: str = "numbers"

    def __len__(self):
        return self.count

    def read(self, indices):
        for i in indices:
            if i in self.bad:
                raise UnreadableRecordError(f"record {i} is damaged")
        return [{"id": record_id(self.name, int(i)), "value": np.int32(i)} for i in indices]

    def fingerprint(self):
        return {"name": self.name, "bad": str(self.bad)}


def example(record, rng):
    return {"value": record["value"], "draw": rng.integers(2**30)}


def of(source, **options):
    return stream_of(source, example, **{"batch_size": 4, "seed": 1} | options)


def test_each_part_has_an_order_and_epochs_of_its_own():
    parts = {"a": Numbers(10), "b": Numbers(6, name="other")}
    stream = Stream(parts, example, 4, 1, make_schedule([(0, (0.5, 0.5))]))
    rows, _ = stream.rows(0, 40)
    part, _ = stream.schedule.rows(0, 40)
    for at, source in enumerate(parts.values()):
        values, epochs = rows["value"][part == at], rows["epoch"][part == at]
        for epoch in range(20 // len(source)):
            assert sorted(values[epochs == epoch].tolist()) == list(range(len(source)))


def test_random_draws_follow_the_record_and_the_epoch():
    rows, _ = of(Numbers(6)).rows(0, 12)
    other, _ = of(Numbers(6), batch_size=8).rows(0, 12)
    assert np.array_equal(rows["draw"], other["draw"])
    assert len(set(rows["draw"].tolist())) == 12


def test_unreadable_records_are_redrawn_counted_and_nothing_else_moves():
    sound, none = of(Numbers()).rows(0, 80)
    rows, unread = of(Numbers(bad=(3, 17))).rows(0, 80)
    bad = np.isin(sound["value"], (3, 17))
    assert not none and unread["damaged"] == unread.total() >= bad.sum() == 4
    assert np.array_equal(rows["value"][~bad], sound["value"][~bad])
    assert np.array_equal(rows["draw"][~bad], sound["draw"][~bad])
    assert not np.isin(rows["value"], (3, 17)).any()
    parts = [of(Numbers(bad=(3, 17))).rows(a, a + 8) for a in range(0, 80, 8)]
    assert np.array_equal(np.concatenate([p["value"] for p, _ in parts]), rows["value"])
    assert sum((n for _, n in parts), Counter()) == unread


def test_what_the_pretext_cannot_decode_is_redrawn_too():
    def picky(record, rng):
        if record["value"] == 5:
            raise UnreadableRecordError("not an image", reason="not_an_image")
        return {"value": record["value"]}

    rows, unread = stream_of(Numbers(), picky, batch_size=4, seed=1).rows(0, 40)
    assert set(unread) == {"not_an_image"} and 5 not in rows["value"]


def test_a_source_that_cannot_be_read_at_all_is_an_error():
    with pytest.raises(DataError, match=f"record and {TRIES} drawn in its place cannot be read"):
        of(Numbers(bad=tuple(range(40)))).rows(0, 1)


def test_reading_each_keeps_the_sound_ones():
    found = read_each(Numbers(bad=(1,)), np.arange(3))
    assert [type(r).__name__ for r in found] == ["dict", "UnreadableRecordError", "dict"]


def test_the_fingerprint_names_what_changed_field_by_field():
    def fields(**changes):
        parts = {"web": Numbers(name=changes.get("web", "web")), "code": Numbers(name="code")}
        schedule = make_schedule([(0, (0.5, 0.5)), (40, changes.get("weights", (0.1, 0.9)))])
        return Stream(parts, example, 4, changes.get("seed", 1), schedule,
                      {"pretext": changes.get("pretext", "p")}).fingerprint()

    def changed(**changes):
        return {k for k, v in fields(**changes).items() if fields()[k] != v}

    assert changed() == set()
    assert changed(web="new") == {"web.name"}
    assert changed(weights=(0.2, 0.8)) == {"stage.40"}
    assert changed(seed=2) == {"seed"} and changed(pretext="q") == {"pretext"}


@pytest.mark.parametrize("parts", [1, 3, 12, 200])
def test_the_data_state_is_below_one_kilobyte_and_differs_when_anything_does(parts):
    def state(value):
        fields = {f"part_{i}": {"version": "1234567890abcdef", "recipe": "r" * 12, "kept": "k" * 30,
                                "tokenizer": "t" * 64, "split": "train"} for i in range(parts)}
        fields[f"part_{parts - 1}"]["version"] = value
        own = {"batch_size": "4096", "seed": "1", "stream_format": "2", "pretext": "p" * 12}
        return {"step": 10**9, "fingerprint": shorten(fields, own)}

    assert len(json.dumps(state("a"))) <= LIMIT + 40 < 1024
    assert state("a") == state("a") != state("b")
    assert state("a")["fingerprint"]["tokenizer"] == "t" * 64


def test_the_fingerprint_does_not_depend_on_how_the_stream_was_used():
    stream = of(Numbers())
    before = stream.fingerprint()
    stream.host_rows(5, 1, 4)
    assert stream.fingerprint() == before == pickle.loads(pickle.dumps(stream)).fingerprint()
