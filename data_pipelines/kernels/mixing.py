"""How often each group of documents is taken so that the mixture has the wanted shares.

Temperature mixing as in mBERT and mT5 (https://arxiv.org/abs/2010.11934): shares proportional to
size^(1 / temperature). Groups are never repeated more than a limit, since beyond four passes
repeated text teaches little (https://arxiv.org/abs/2305.16264); what a limited group cannot give,
the others give in proportion. Reads sizes and shares, returns numbers of copies.
"""

from collections.abc import Mapping

import numpy as np

from ssljax.core.rng import hash64


def temper(sizes: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Return shares proportional to size^(1 / temperature); 1 keeps them, large ones even out."""
    powers = {name: size ** (1 / temperature) for name, size in sorted(sizes.items())}
    total = sum(powers.values())
    return {name: power / total for name, power in powers.items()}


def copies(sizes: Mapping[str, float], shares: Mapping[str, float], *, total: float,
           least: float = 0.0, most: float = 4.0) -> dict[str, float]:
    """Return the mean number of copies of each group's documents.

    Args:
        sizes: of the groups, in any unit, such as documents or bytes.
        shares: wanted of the mixture; those of absent groups go to the others.
        total: size of the mixture, in the same unit, as far as the limits allow it.
        least: fewest copies, under 1 where documents may be left out.
        most: most copies.
    """
    free = {n for n in sizes if sizes[n] > 0 and shares.get(n, 0) > 0}
    fixed = {n: 0.0 if shares.get(n, 0) == 0 else least for n in sizes if n not in free}
    while free:
        rest = total - sum(fixed[n] * sizes[n] for n in fixed)
        weight = sum(shares[n] for n in free)
        found = {n: rest * shares[n] / weight / sizes[n] for n in free}
        excess = sum((min(max(f, least), most) - f) * sizes[n] for n, f in found.items())
        # Of the two limits, the one that binds harder is settled first (water filling).
        bound = {n for n, f in found.items() if (f < least if excess > 0 else f > most)}
        if not bound:
            return fixed | {n: min(max(f, least), most) for n, f in found.items()}
        fixed |= dict.fromkeys(bound, least if excess > 0 else most)
        free -= bound
    return fixed


def whole_copies(ids: list[str], mean: np.ndarray) -> np.ndarray:
    """Return how often each document is taken, int64 [n]: its mean, rounded up or down by its id.

    The same document falls on the same side whatever others there are.
    """
    draws = np.array([hash64("copies", i) for i in ids], np.uint64) / 2.0**64
    return (np.floor(mean) + (draws < mean - np.floor(mean))).astype(np.int64)
