"""Ratings from votes: recovered from a simulated truth, with intervals that hold it."""

import numpy as np
import pytest

from ssljax.serve.arena.ranking import MIDDLE, POINTS, Vote, duels, rank

NAMES = ("a", "b", "c", "d")
TRUTH = np.array([1.0, 0.3, -0.3, -1.0])


def simulate(rng, count, *, shown=2, ties=0.0):
    """Return votes drawn from Luce's model over TRUTH; a share of them become ties."""
    votes = []
    for _ in range(count):
        at = rng.permutation(len(NAMES))[:shown]
        odds = np.exp(TRUTH[at])
        winner = NAMES[rng.choice(at, p=odds / odds.sum())]
        names = tuple(NAMES[i] for i in at)
        votes.append(Vote(names, names if rng.random() < ties else (winner,)))
    return votes


def by_name(votes):
    return {row.name: row for row in rank(votes)}


@pytest.mark.parametrize("shown", [2, 3, 4])
def test_many_votes_give_the_true_strengths(shown):
    found = by_name(simulate(np.random.default_rng(0), 20000, shown=shown))
    strengths = np.array([(found[n].rating - MIDDLE) / POINTS for n in NAMES])
    np.testing.assert_allclose(strengths, TRUTH, atol=0.08)


@pytest.mark.parametrize("shown", [2, 4])
def test_95_percent_of_the_intervals_hold_the_truth(shown):
    rng = np.random.default_rng(1)
    truth = MIDDLE + POINTS * TRUTH
    held = [row.low <= truth[NAMES.index(row.name)] <= row.high
            for _ in range(200) for row in rank(simulate(rng, 150, shown=shown))]
    assert 0.925 < np.mean(held) < 0.975               # of 800, 4 standard errors are 0.03


def test_intervals_are_as_wide_as_those_of_a_bootstrap():
    rng = np.random.default_rng(2)
    votes = simulate(rng, 400)
    again = [by_name([votes[i] for i in rng.integers(0, 400, 400)]) for _ in range(200)]
    for name, row in by_name(votes).items():
        spread = 2 * 1.96 * np.std([found[name].rating for found in again])
        assert 0.8 < (row.high - row.low) / spread < 1.25


def test_two_models_have_the_closed_form():
    """The log odds of 30 to 10, up to the prior's pull; ties count as half."""
    votes = [Vote(("a", "b"), ("a",))] * 25 + [Vote(("b", "a"), ("b",))] * 5
    votes += [Vote(("a", "b"), ("a", "b"))] * 10
    found = by_name(votes)
    gap = (found["a"].rating - found["b"].rating) / POINTS
    assert gap == pytest.approx(np.log(30 / 10), abs=0.02)
    # The variance of a log odds is 1/wins + 1/losses; of half of it, a quarter of that.
    half = (found["a"].high - found["a"].low) / 2 / POINTS / 1.96
    assert half == pytest.approx(np.sqrt(1 / 30 + 1 / 10) / 2, rel=0.03)


def test_a_model_that_never_lost_is_finite_and_its_interval_wide():
    found = by_name([Vote(("a", "b"), ("a",))] * 3)
    assert found["a"].rating < 1500 and found["a"].high - found["a"].low > 300


def test_no_votes_give_no_ratings():
    assert rank([]) == []


def test_order_of_votes_and_of_panes_does_not_matter():
    votes = simulate(np.random.default_rng(3), 60, shown=3, ties=0.2)
    mirrored = [Vote(v.shown[::-1], v.best[::-1], v.bad) for v in votes[::-1]]
    for row, other in zip(rank(votes), rank(mirrored), strict=True):
        assert row.name == other.name and row[4:] == other[4:]
        np.testing.assert_allclose(row[1:4], other[1:4], atol=1e-6)


def test_counts_and_ranks():
    votes = [Vote(("a", "b"), ("a",))] * 40 + [Vote(("a", "b"), ("a", "b"))] * 2
    votes += [Vote(("a", "b"), ("a", "b"), bad=True)]
    first, second = rank(votes)
    assert first[5:] == (43, 40, 2, 1) and second[5:] == (43, 0, 2, 1)
    assert (first.rank, second.rank) == (1, 2)


def test_models_whose_intervals_overlap_share_a_rank():
    assert [row.rank for row in rank([Vote(("a", "b"), ("a",))])] == [1, 1]


def test_duels_count_a_best_of_three_against_each_other():
    votes = [Vote(("a", "b", "c"), ("b",)), Vote(("a", "c"), ("a", "c"))]
    assert duels(votes, "abc") == [[0, 0, 0.5], [1, 0, 1], [0.5, 0, 0]]
