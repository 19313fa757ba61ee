"""The adapters of one model on its devices: stacks with a place for each, filled while it serves.

Place 0 holds zeros, for rows without an adapter. A change makes new arrays, so a program that runs
meanwhile has read the old ones; what programs compute for a row depends on its own place only.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from ssljax.core.errors import RequestError
from ssljax.core.tree import unflatten
from ssljax.serve.artefact import Artefact, Function

PREFIX = "adapters/"

Stacks = Any                             # nested dicts of f32 [places, ...], or None


class Adapter(NamedTuple):
    """A low-rank change of a model, ready to be put in a place.

    arrays: slash-separated name of a stack -> f32, its entry; what is absent is zeros
    digest: hash of all of them
    rank:   of its matrices
    """

    arrays: Mapping[str, np.ndarray]
    digest: str
    rank: int


class Places(NamedTuple):
    """Where a model keeps adapters.

    stacks: () -> those of all places, what programs read; None of a model without room for any
    put:    (adapter) -> its place, ready. RequestError: none is free (409)
    free:   (place) -> None; whatever used it has ended
    count:  places in all, beside place 0
    """

    stacks: Callable[[], Stacks]
    put: Callable[[Adapter], int]
    free: Callable[[int], None]
    count: int


def make_places(artefact: Artefact) -> Places:
    """Return the empty places of an artefact, on the devices of its weights."""
    specs = specs_of(artefact)
    count = next(iter(specs.values()))["shape"][0] - 1 if specs else 0
    sharding = sharding_of(artefact.weights)
    stacks = {name: jnp.zeros(spec["shape"], spec["dtype"], device=sharding)
              for name, spec in specs.items()}
    write = jax.jit(lambda stacks, place, arrays: {
        name: stack.at[place].set(arrays[name]) for name, stack in stacks.items()})
    unused, lock = list(range(1, count + 1)), threading.Lock()

    def put(adapter: Adapter) -> int:
        nonlocal stacks
        arrays = {name: adapter.arrays.get(name, np.zeros(spec["shape"][1:], spec["dtype"]))
                  for name, spec in specs.items()}
        with lock:
            if not unused:
                room = (f"its {count} places for adapters are taken; unload one" if count else
                        "it has no room for adapters; export it with --adapters N "
                        "--adapter-rank R")
                raise RequestError(f"{artefact.path}: {room}.", status=409, code="no_room")
            stacks = jax.block_until_ready(write(stacks, np.int32(unused[0]), arrays))
            return unused.pop(0)

    def free(place: int) -> None:
        with lock:
            unused.append(place)

    return Places(lambda: unflatten(stacks) if stacks else None, put, free, count)


def specs_of(artefact: Artefact) -> dict[str, Mapping[str, Any]]:
    """Return name -> shape and dtype of every stack that the artefact's programs read."""
    for spec in artefact.manifest["functions"].values():
        found = {name.removeprefix(PREFIX): about for name, about in spec["inputs"].items()
                 if name.startswith(PREFIX)}
        if found:                                    # all programs read the same
            return found
    return {}


def sharding_of(weights: Any) -> Sharding | None:
    """Return where stacks lie: whole, on every device of the weights."""
    sharding = jax.tree.leaves(weights)[0].sharding
    if isinstance(sharding, NamedSharding):
        return NamedSharding(sharding.mesh, PartitionSpec())
    return sharding


def with_stacks(function: Function) -> Function:
    """Return a function of ((weights, stacks), inputs); inputs always say "adapter", i32 [B].

    Of an artefact without room for adapters it leaves that out.
    """
    def call(model: tuple[Any, Stacks], inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        weights, stacks = model
        if stacks is None:
            return function(weights, {name: x for name, x in inputs.items() if name != "adapter"})
        return function(weights, {**inputs, "adapters": stacks})

    return call
