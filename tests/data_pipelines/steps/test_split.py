"""The split: by cluster, in proportion, stable, and never empty where there is a choice."""

import pytest

from data_pipelines.steps.split import make
from data_pipelines.table import drop, replace
from ssljax.core.errors import ConfigError


def sides(table, clusters, **kwargs):
    return make(**kwargs)(replace(table([""] * len(clusters)), "cluster", clusters))["split"]


def test_a_cluster_is_on_one_side(table):
    clusters = [f"c{i // 3}" for i in range(600)]
    splits = sides(table, clusters, validation_fraction=0.2).to_pylist()
    assert all(len({s for s, c in zip(splits, clusters, strict=True) if c == name}) == 1
               for name in set(clusters))
    assert 0.12 < splits.count("validation") / 600 < 0.28


def test_other_documents_do_not_move_a_cluster(table):
    few = sides(table, [f"c{i}" for i in range(200)], validation_fraction=0.1).to_pylist()
    many = sides(table, [f"c{i}" for i in range(900)], validation_fraction=0.1).to_pylist()
    assert many[:200] == few


def test_a_cluster_that_would_swamp_validation_trains(table):
    for name in (f"big{i}" for i in range(40)):
        splits = sides(table, [name] * 100 + [f"c{i}" for i in range(300)],
                       validation_fraction=0.2).to_pylist()
        assert set(splits[:100]) == {"train"}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_small_corpus_has_both_sides(table, count):
    splits = sides(table, [f"c{i}" for i in range(count)], validation_fraction=0.01).to_pylist()
    assert splits.count("validation") == 1


def test_one_cluster_trains(table):
    assert set(sides(table, ["c"] * 4).to_pylist()) == {"train"}


def test_dropped_rows_are_on_no_side(table):
    done = make()(drop(table(["a", "b"]), {0: ("too_short", "")}))
    assert done["split"].to_pylist()[0] is None


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_fraction_that_leaves_a_side_empty_is_refused(fraction):
    with pytest.raises(ConfigError, match="validation_fraction"):
        make(validation_fraction=fraction)
