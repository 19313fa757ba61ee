"""Distinct values against Python's sets."""

import numpy as np
import pytest

from data_pipelines.kernels.distinct import distinct


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.uint8])
@pytest.mark.parametrize("size", [0, 1, 2, 500])
def test_each_value_once_in_order(kind, size):
    values = np.random.default_rng(size).integers(0, 200, size).astype(kind)
    before = values.copy()
    found = distinct(values)
    assert found.tolist() == sorted(set(values.tolist()))
    assert found.dtype == kind
    np.testing.assert_array_equal(values, before)
