"""Records survive the round trip to bytes, and damaged bytes are refused."""

import numpy as np
import pytest

from ssljax.core.errors import DataError, UnreadableRecordError
from ssljax.sources.record import decode, encode

RECORD = {"image": np.arange(12, dtype=np.uint8).reshape(2, 3, 2),
          "tokens": np.arange(5, dtype=">i4"), "empty": np.zeros((0, 3), np.float32),
          "scalar": np.float32(1.5), "text": "naïve ☕", "raw": b"\x00\xff", "label": 7,
          "score": 0.1, "flag": True, "wide": np.array([2**63], "u8")}


def test_every_kind_of_value_survives():
    found = decode(encode(RECORD))
    assert found.keys() == RECORD.keys()
    for name, value in RECORD.items():
        assert np.array_equal(found[name], value), name
        assert np.shape(found[name]) == np.shape(value), name
        if not isinstance(value, np.ndarray | np.generic):
            assert type(found[name]) is type(value)
    assert found["tokens"].dtype == np.int32 and not found["image"].flags.writeable


@pytest.mark.parametrize("value", [None, ["a"], object(), np.array(["a"]), {"a": 1}])
def test_what_is_no_data_is_refused_by_name(value):
    with pytest.raises(DataError, match="Field 'odd' of a record"):
        encode({"odd": value})


@pytest.mark.parametrize("damage", [
    lambda d: b"", lambda d: d[:3], lambda d: d[:-1], lambda d: d + b"x", lambda d: d[:20] + d[25:],
    lambda d: b"\xff\xff\xff\x7f" + d[4:], lambda d: d.replace(b"<i4", b"<q9"),
    lambda d: d.replace(b"[[", b"{["), lambda d: d.replace(b"tokens", b"\xff\xfe\xfd\xfc\xfb\xfa")])
def test_damage_is_an_unreadable_record(damage):
    with pytest.raises(UnreadableRecordError, match="damaged, or was not written by ssljax"):
        decode(damage(encode(RECORD)))
