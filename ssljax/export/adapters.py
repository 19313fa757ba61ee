"""Room for low-rank adapters in an exported program: stacks of them, and each row's choice.

Hu et al. 2021, https://arxiv.org/abs/2106.09685; nn/low_rank.py computes. The stacks are arguments
like the cache, so a server fills and empties their places while programs run. Place 0 is to hold
zeros, for rows without an adapter.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.tree import named_leaves, unflatten
from ssljax.core.types import PyTree

# The matrices of a block, in which part of it they are, and how many of their first axes are
# inputs. Those of experts are left out: their router would choose which rows to adapt.
MATRICES = {"w_qkv": ("attention", 1), "w_out": ("attention", 2),
            "w_gate": ("mlp", 1), "w_up": ("mlp", 1), "w_down": ("mlp", 1)}


class Room(NamedTuple):
    """Adapters that a program has room for: how many at once, and their rank at most."""

    count: int
    rank: int


def room_of(count: int, rank: int) -> Room | None:
    """Return the room that a command line asks for; None without adapters.

    Raises:
        ConfigError: one is given without the other, or out of bounds.
    """
    if not count and not rank:
        return None
    if count < 1 or rank < 1:
        raise ConfigError(f"adapters {count} of rank {rank}: expected at least 1 of each, as in "
                          "--adapters 4 --adapter-rank 16.")
    return Room(count, rank)


def adapter_inputs(room: Room | None, params: PyTree, rows: tuple[Any, ...]) -> dict[str, Any]:
    """Return what a program reads of adapters: {"adapters": stacks, "adapter": i32 [B]}, or {}.

    Args:
        room: None for none.
        params: float32, or shapes; each layer has arrays of its own.
        rows: [B] as symbols.

    Raises:
        ConfigError: the network has no matrix that is adapted.
    """
    if room is None:
        return {}
    pairs = {name: pair_of(name, leaf.shape, room) for name, leaf in named_leaves(params).items()
             if is_adapted(name)}
    if not pairs:
        raise ConfigError("The network has no matrices that adapters could change; export it "
                          "without --adapters.")
    return {"adapters": unflatten(pairs), "adapter": jax.ShapeDtypeStruct(rows, jnp.int32)}


def is_adapted(name: str) -> bool:
    """Say whether adapters may change the weight of this slash-separated name."""
    *_, part, last = ("", "", *name.split("/"))
    return "/blocks/" in name and last in MATRICES and MATRICES[last][0] == part


def pair_of(name: str, shape: tuple[int, ...], room: Room) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the stacks of one matrix: a [places, parts, inputs, R], b [places, parts, R, outputs].

    Queries, keys and values are parts of one weight with an adapter each.
    """
    last = name.rpartition("/")[2]
    inputs = MATRICES[last][1]
    parts = shape[1] if last == "w_qkv" else 1
    width, outputs = math.prod(shape[:inputs]), math.prod(shape[inputs:]) // parts
    places = room.count + 1
    return {"a": jax.ShapeDtypeStruct((places, parts, width, room.rank), jnp.float32),
            "b": jax.ShapeDtypeStruct((places, parts, room.rank, outputs), jnp.float32)}


def chosen(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a program's inputs that says which adapters its rows have."""
    return {name: inputs[name] for name in ("adapters", "adapter") if name in inputs}


def room_in(about: Mapping[str, Any]) -> Room | None:
    """Return the room that a manifest tells of."""
    told = about.get("adapters")
    return Room(told["count"], told["rank"]) if told else None
