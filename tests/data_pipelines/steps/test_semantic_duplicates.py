"""Documents near in meaning leave the best; any order of rows."""

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.steps.semantic_duplicates import make
from ssljax.core.errors import ConfigError, DataError


@pytest.fixture
def embedded(table):
    draw = np.random.default_rng(0)
    rows = np.repeat(draw.normal(size=(10, 8)), 4, axis=0) + 0.01 * draw.normal(size=(40, 8))
    made = table(["x" * (i + 1) for i in range(40)])
    return made.append_column("embedding", pa.array(rows.tolist(), pa.list_(pa.float32())))


def test_the_longest_of_a_family_survives(embedded):
    rows = make(per_cluster=1000)(embedded).to_pylist()
    assert [r["dropped"] for r in rows] == ["semantic_duplicate"] * 3 + [None] + (
        ["semantic_duplicate"] * 3 + [None]) * 9
    survivor, cosine = rows[0]["detail"].split()
    assert survivor == rows[3]["id"] == rows[0]["cluster"] and float(cosine) > 0.99


@pytest.mark.parametrize("per_cluster", [5, 1000])
def test_the_order_of_rows_does_not_matter(embedded, per_cluster):
    expected = make(per_cluster=per_cluster)(embedded).to_pylist()
    order = np.random.default_rng(1).permutation(40)
    turned = make(per_cluster=per_cluster)(embedded.take(pa.array(order))).to_pylist()
    assert [turned[i]["detail"] for i in np.argsort(order)] == [r["detail"] for r in expected]


def test_rows_without_an_embedding_repeat_nothing(table):
    values = pa.array([[1.0, 0.0], None, None, [1.0, 0.0]], pa.list_(pa.float64(), 2))
    made = table(["a", "b", "c", "dd"]).append_column("embedding", values)
    assert make()(made)["dropped"].to_pylist() == ["semantic_duplicate", None, None, None]
    assert make()(made.slice(1, 2))["dropped"].null_count == 2


def test_embeddings_of_two_models_are_refused(table):
    made = table(["a", "b"]).append_column("embedding", pa.array([[1.0], [1.0, 2.0]]))
    with pytest.raises(DataError, match="1 to 2"):
        make()(made)
    with pytest.raises(ConfigError, match='"other"'):
        make(embedding="other")(made)
    with pytest.raises(ConfigError, match="semantic_duplicates"):
        make(at_least=0.0)
