"""How the versions of a model share its traffic: plain data, pure functions.

A caller's point is a hash of who it is, from 0 to 1; each version owns a stretch as long as its
weight, in the order in which versions were loaded, the newest first. So a caller stays with one
version while the split stays, and a canary that grows keeps everyone that it had.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from ssljax.core.errors import RequestError


class Traffic(NamedTuple):
    """The split of one model.

    versions: in the order of loading
    weights:  a share for each, adding up to 1
    before:   the split that rollback returns to
    shadow:   the version that gets copies, or None
    share:    of requests that are copied, 0 to 1
    """

    versions: tuple[str, ...]
    weights: Mapping[str, float]
    before: Mapping[str, float]
    shadow: str | None = None
    share: float = 0.0


def add(traffic: Traffic | None, version: str, weight: float | None) -> Traffic:
    """Return the traffic with one more version.

    Args:
        traffic: None for a model that is new.
        version: that is not there yet.
        weight: its share, 0 to 1; the others keep their proportions. None: nothing, except for the
            first version.
    """
    if traffic is None:
        return Traffic((version,), {version: 1.0}, {version: 1.0})
    share = weight or 0.0
    weights = {v: w * (1 - share) for v, w in traffic.weights.items()} | {version: share}
    return traffic._replace(versions=(*traffic.versions, version), weights=normal(weights),
                            before=traffic.weights)


def remove(traffic: Traffic, version: str) -> Traffic | None:
    """Return the traffic without a version, its share given to the others; None without any."""
    versions = tuple(v for v in traffic.versions if v != version)
    if not versions:
        return None
    left = {v: traffic.weights[v] for v in versions}
    if not sum(left.values()):
        left[versions[-1]] = 1.0         # all went to the one that leaves; the newest takes over
    gone = traffic.shadow == version
    return Traffic(versions, normal(left), normal(left), None if gone else traffic.shadow,
                   0.0 if gone else traffic.share)


def split(traffic: Traffic, weights: Mapping[str, float]) -> Traffic:
    """Return the traffic shared as `weights` say, which need not add up to 1.

    Raises:
        RequestError: a version is not loaded, or the weights share nothing.
    """
    for version in weights:
        known(traffic, version)
    if any(w < 0 for w in weights.values()) or not 0 < sum(weights.values()) < float("inf"):
        raise RequestError("weights must be 0 or more and not all 0; expected for example "
                           '{"1": 0.9, "2": 0.1}.', param="weights")
    whole = {v: weights.get(v, 0.0) for v in traffic.versions}
    return traffic._replace(weights=normal(whole), before=traffic.weights)


def rollback(traffic: Traffic) -> Traffic:
    """Return the traffic with the split before the last; a second call takes the first one back."""
    before = {v: traffic.before.get(v, 0.0) for v in traffic.versions}
    return split(traffic, before)


def mirror(traffic: Traffic, version: str | None, share: float) -> Traffic:
    """Return the traffic with `share` of it copied to a shadow version; None ends that."""
    if version is None:
        return traffic._replace(shadow=None, share=0.0)
    return traffic._replace(shadow=known(traffic, version), share=share)


def choose(traffic: Traffic, who: str) -> str:
    """Return the version that answers a caller or request of this name."""
    reach, place = 0.0, point(who)
    for version in reversed(traffic.versions):
        reach += traffic.weights[version]
        if place < reach:
            return version
    return next(v for v in traffic.versions if traffic.weights[v])     # rounding: the last stretch


def point(who: str) -> float:
    """Return a number from 0 to 1, 1 excluded, evenly spread over names."""
    return int.from_bytes(hashlib.sha256(who.encode()).digest()[:6], "big") / 2**48


def known(traffic: Traffic, version: str) -> str:
    """Return a version that is there.

    Raises:
        RequestError: it is not (404).
    """
    if version not in traffic.versions:
        raise RequestError(f'version "{version}" is not loaded; {", ".join(traffic.versions)} '
                           f"{'are' if len(traffic.versions) > 1 else 'is'}.", status=404,
                           param="version", code="model_not_found")
    return version


def normal(weights: Mapping[str, float]) -> dict[str, float]:
    """Return weights that add up to 1."""
    total = sum(weights.values())
    return {version: weight / total for version, weight in weights.items()}
