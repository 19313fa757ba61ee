"""Votes to ratings: Luce's choice model, which is Bradley-Terry's where two models are shown.

A model of strength w is chosen among those shown with probability w / (the sum of their w): Luce,
Individual Choice Behavior (1959); of two it is Bradley and Terry's model of paired comparisons
(https://doi.org/10.2307/2334029), and "best of six" needs no rule of thumb that turns one choice
into five. A tie is a vote shared equally by all that were shown: a half each, of two.

Fitted by Newton's method on the log-likelihood with a weak Gaussian prior, without which a model
that never lost would be infinitely strong. Intervals are of the observed Fisher information; with
ties they are a little too wide, since a shared vote varies less than a decided one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

POINTS = 400 / math.log(10)      # chess players' scale: 400 points are odds of ten to one
MIDDLE = 1000.0                  # rating of the average model
# Standard deviation of a log strength before any vote: 521 points. Moves a rating by under 2 points
# once a model has 100 votes.
PRIOR = 3.0
Z95 = 1.959964                   # of the normal distribution: 95 % lie within
STEPS, CLOSE = 100, 1e-10
LONGEST_STEP = 2.0               # Newton overshoots where one model has won everything


class Vote(NamedTuple):
    """One judgement: the models that were shown, and those that share the vote.

    One in `best` was chosen; all of `shown` in `best` is a tie. `bad`: the tie was called bad.
    """

    shown: tuple[str, ...]
    best: tuple[str, ...]
    bad: bool = False


class Rating(NamedTuple):
    """What the votes say of one model.

    rating:    400 points more are odds of ten to one; the average model has 1000
    low, high: 95 % interval
    rank:      1 + the models that are better with intervals apart
    votes:     rounds it was judged in
    wins:      rounds it was chosen in; ties and bad: rounds that ended so
    """

    name: str
    rating: float
    low: float
    high: float
    rank: int
    votes: int
    wins: int
    ties: int
    bad: int


def rank(votes: Sequence[Vote]) -> list[Rating]:
    """Return the ratings of all models that were shown, the best first."""
    names = sorted({name for vote in votes for name in vote.shown})
    if not names:
        return []
    strengths, covariance = fit(tally(votes, names), len(names))
    points = MIDDLE + POINTS * strengths
    margins = Z95 * POINTS * np.sqrt(np.diag(covariance))
    low, high = points - margins, points + margins
    rows = [Rating(name, float(points[i]), float(low[i]), float(high[i]),
                   1 + int((low > high[i]).sum()), *counts(votes, name))
            for i, name in enumerate(names)]
    return sorted(rows, key=lambda row: (-row.rating, row.name))


def tally(votes: Iterable[Vote], names: Sequence[str]) -> dict[tuple[int, ...], np.ndarray]:
    """Return models shown together -> the votes each got; numbers are indices into `names`."""
    number = {name: i for i, name in enumerate(names)}
    shares: dict[tuple[int, ...], np.ndarray] = {}
    for vote in votes:
        shown = tuple(sorted(number[name] for name in vote.shown))
        got = shares.setdefault(shown, np.zeros(len(shown)))
        for name in vote.best:
            got[shown.index(number[name])] += 1 / len(vote.best)
    return shares


def fit(shares: Mapping[tuple[int, ...], np.ndarray], models: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the log strengths [M], zero on average, and their covariance [M, M]."""
    strengths = np.zeros(models)
    for _ in range(STEPS):
        gradient, information = slopes(shares, strengths)
        step = np.linalg.solve(information, gradient)
        strengths = strengths + step * min(1.0, LONGEST_STEP / max(np.abs(step).max(), CLOSE))
        if np.abs(step).max() < CLOSE:
            break
    # The likelihood knows differences only: what the prior says of the sum is taken out again.
    centre = np.eye(models) - 1 / models
    return strengths, centre @ np.linalg.inv(slopes(shares, strengths)[1]) @ centre


def slopes(shares: Mapping[tuple[int, ...], np.ndarray],
           strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient [M] and negative Hessian [M, M] of the log posterior at `strengths`."""
    gradient = -strengths / PRIOR**2
    information = np.eye(len(strengths)) / PRIOR**2
    for shown, got in shares.items():
        at, total = list(shown), got.sum()
        odds = np.exp(strengths[at] - strengths[at].max())
        chance = odds / odds.sum()
        gradient[at] += got - total * chance
        information[np.ix_(at, at)] += total * (np.diag(chance) - np.outer(chance, chance))
    return gradient, information


def counts(votes: Iterable[Vote], name: str) -> tuple[int, int, int, int]:
    """Return the rounds a model was in, won, shared, and shared as bad."""
    own = [vote for vote in votes if name in vote.shown]
    ties = [vote for vote in own if len(vote.best) > 1]
    bad = sum(vote.bad for vote in ties)
    return len(own), sum(vote.best == (name,) for vote in own), len(ties) - bad, bad


def duels(votes: Iterable[Vote], names: Sequence[str]) -> list[list[float]]:
    """Return [winner][loser] -> rounds in which one was chosen over the other; ties are halves."""
    number = {name: i for i, name in enumerate(names)}
    won = np.zeros((len(names), len(names)))
    for vote in votes:
        for one in vote.shown:
            for other in vote.shown:
                if one != other and (one in vote.best or other in vote.best):
                    both = one in vote.best and other in vote.best
                    won[number[one], number[other]] += 0.5 if both else float(one in vote.best)
    return won.tolist()
