"""Texts of earlier runs go; running twice judges alike."""

import pytest

from data_pipelines.kernels import bloom
from data_pipelines.steps.seen_before import make, remember
from data_pipelines.table import drop
from ssljax.core.errors import DataError


def test_what_an_earlier_run_kept_is_dropped(tmp_path, table, prose):
    path = tmp_path / "seen"
    earlier = drop(table([prose(1), prose(2)]), {1: ("too_short", "1")})
    path.write_bytes(bloom.to_bytes(remember(earlier, bloom.empty(1000, 0.001))))
    step = make(path=str(path))
    now = table([prose(1) + "\n", prose(2), prose(3)])
    assert step(now)["dropped"].to_pylist() == ["seen_before", None, None]
    assert step(now).equals(step(now)) and step(now)["detail"][0].as_py() == "0.001"


def test_a_missing_or_damaged_filter_is_named(tmp_path):
    with pytest.raises(DataError, match="absent"):
        make(path=str(tmp_path / "absent"))
    (tmp_path / "bad").write_bytes(b"x")
    with pytest.raises(DataError, match="Bloom"):
        make(path=str(tmp_path / "bad"))
