"""Weighted nearest neighbours against a loop."""

import numpy as np

from ssljax.evals import knn
from ssljax.evals.knn import vote

RNG = np.random.default_rng(0)
BANK, QUERIES = RNG.normal(size=(30, 6)), RNG.normal(size=(25, 6))
LABELS = RNG.integers(0, 4, 30)


def reference(k: int, temperature: float) -> list[int]:
    answers = []
    for query in QUERIES:
        cosine = [x @ query / np.linalg.norm(x) / np.linalg.norm(query) for x in BANK]
        votes = dict.fromkeys(range(4), 0.0)
        for i in sorted(range(30), key=lambda i: -cosine[i])[:k]:
            votes[int(LABELS[i])] += np.exp(cosine[i] / temperature)
        answers.append(max(votes, key=votes.get))
    return answers


def test_equals_the_loop():
    for k, temperature in ((1, 0.07), (5, 0.07), (20, 0.07), (20, 1.0), (100, 0.5)):
        assert vote(BANK, LABELS, QUERIES, k=k, temperature=temperature).tolist() == reference(
            k, temperature)


def test_every_example_is_its_own_nearest_neighbour_at_any_length():
    scaled = BANK * RNG.uniform(0.1, 10, (30, 1))
    assert vote(BANK, LABELS, scaled, k=1, temperature=0.07).tolist() == LABELS.tolist()


def test_a_zero_feature_is_answered_without_a_warning():
    assert vote(BANK, LABELS, np.zeros((1, 6)), k=3, temperature=0.07).shape == (1,)


def test_euclidean_distance_votes_by_its_inverse():
    answers = []
    for query in QUERIES:
        distance = np.linalg.norm(BANK - query, axis=1)
        votes = [sum(1 / (distance[i] + 1e-5) for i in np.argsort(distance)[:5] if LABELS[i] == c)
                 for c in range(4)]
        answers.append(int(np.argmax(votes)))
    assert vote(BANK, LABELS, QUERIES, k=5, temperature=0.07,
                distance="euclidean").tolist() == answers


def test_answers_do_not_depend_on_how_queries_are_cut(monkeypatch):
    whole = vote(BANK, LABELS, QUERIES, k=5, temperature=0.07).tolist()
    monkeypatch.setattr(knn, "BLOCK", 4 * len(BANK))
    assert vote(BANK, LABELS, QUERIES, k=5, temperature=0.07).tolist() == whole
