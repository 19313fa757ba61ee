"""Large-star and small-star until nothing moves, against a search of the whole graph."""

import numpy as np
import pytest

from data_pipelines.kernels.stars import distinct, large_star, small_star


def both(edges):
    return np.concatenate([edges, edges[:, ::-1]])


def settle(edges):
    """Repeat both operations, whole graph at a time, until the edges stay; return (node, root)."""
    for _ in range(100):
        larger = large_star(both(edges))
        moved = small_star(larger)
        moved = distinct(moved[moved[:, 0] > moved[:, 1]])
        if np.array_equal(moved, edges):
            return dict(edges.tolist())
        edges = moved
    raise AssertionError("it does not settle")


def components(edges):
    """Return (node, smallest of its component) of every node but the smallest, by flooding."""
    least = {int(n): int(n) for n in edges.ravel()}
    for _ in least:
        for a, b in edges.tolist():
            least[a] = least[b] = min(least[a], least[b])
    return {n: root for n, root in least.items() if n != root}


@pytest.mark.parametrize("edges", [
    [(1, 0)], [(i + 1, i) for i in range(40)], [(9, i) for i in range(9)],
    [(3, 1), (7, 5), (5, 3), (8, 2)], [(2, 1), (2, 1), (3, 2), (1, 3)]])
def test_every_node_ends_at_the_smallest_of_its_component(edges):
    edges = np.array(edges, np.int64)
    assert settle(edges) == components(edges)


@pytest.mark.parametrize("seed", range(5))
def test_random_graphs_have_the_components_of_a_flood_in_any_order(seed):
    draw = np.random.default_rng(seed)
    edges = draw.integers(0, 60, (40, 2))
    edges = np.sort(edges[edges[:, 0] != edges[:, 1]], axis=1)[:, ::-1]
    assert settle(edges) == components(edges) == settle(draw.permutation(edges))


def test_no_edges_stay_none():
    none = np.empty((0, 2), np.int64)
    assert large_star(none).shape == small_star(none).shape == (0, 2)
