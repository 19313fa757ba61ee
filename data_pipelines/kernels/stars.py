"""Connected components of graphs that fit in no one memory: large-star and small-star.

Kiveris et al. 2014, "Connected Components in MapReduce and Beyond",
https://doi.org/10.1145/2670979.2670997. Each operation sees the edges of some nodes, all that such
a node has, and moves its neighbours to the smallest it knows; repeated in turn until nothing moves,
every node is joined to the smallest of its component and to nothing else. Nodes are int64 numbers,
edges int64 [n, 2].
"""

import numpy as np


def large_star(edges: np.ndarray) -> np.ndarray:
    """Join the larger neighbours of each node to the smallest of its neighbours and itself.

    Args:
        edges: (node, neighbour), each edge in both directions.

    Returns:
        (larger, smaller) edges, distinct.
    """
    edges = distinct(edges)
    least = smallest(edges)
    larger = edges[:, 1] > edges[:, 0]
    return distinct(np.stack([edges[larger, 1], least[larger]], axis=1))


def small_star(edges: np.ndarray) -> np.ndarray:
    """Join each node and its smaller neighbours to the smallest of them.

    Args:
        edges: (larger, smaller), all of each larger node.

    Returns:
        edges in both directions, distinct.
    """
    edges = distinct(edges)
    least = smallest(edges)
    joined = np.concatenate([np.stack([edges[:, 0], least], axis=1),
                             np.stack([edges[:, 1], least], axis=1)])
    joined = joined[joined[:, 0] != joined[:, 1]]
    return distinct(np.concatenate([joined, joined[:, ::-1]]))


def smallest(edges: np.ndarray) -> np.ndarray:
    """Return for each edge, sorted by node, the smallest of the node and its neighbours, int64."""
    if not len(edges):
        return np.empty(0, np.int64)
    first = np.flatnonzero(np.append(True, edges[1:, 0] != edges[:-1, 0]))
    found = np.minimum(np.minimum.reduceat(edges[:, 1], first), edges[first, 0])
    return np.repeat(found, np.diff(np.append(first, len(edges))))


def distinct(edges: np.ndarray) -> np.ndarray:
    """Return the distinct edges, sorted."""
    edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    new = np.ones(len(edges), bool)
    new[1:] = (edges[1:] != edges[:-1]).any(axis=1)
    return edges[new]
