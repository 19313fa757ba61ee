"""Answers of every function on a few inputs, which every later load must reproduce.

Checksums prove that the files are the ones written; these prove that they still compute the same
on this machine, with this version of jax. They are those of the function that was traced, run
here, not of the exported program; of quantised weights, those of the same quantised weights.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ssljax.core.golden import fill, summary
from ssljax.core.tree import named_leaves, unflatten
from ssljax.core.types import PyTree
from ssljax.export.stablehlo import Program

ROWS, LENGTH = 2, 12                       # b rows of l tokens,
PAGES, PAGE = 2, 8                         # whose caches have n pages of p tokens
OTHER = 2                                  # any other symbol
LARGEST_KEPT = 2**18                       # bytes of one argument that is kept; others are filled
# Numbers in a row's argument above which one row must do: a server at its start waits for these
# calls, and two images of 224 by 224 take a ViT-S/16 as long as loading its weights.
LARGE_ROW = 2**14


class Golden(NamedTuple):
    """What a load compares with.

    arrays: "score/inputs/tokens" as given, "score/outputs/logits/entries" and ".../norms" of what
            came back (core/golden.py)
    about:  function -> {"sizes": {symbol: int}, "filled": [arguments that follow from their
            shape]}, for the manifest
    """

    arrays: Mapping[str, np.ndarray]
    about: Mapping[str, Mapping[str, Any]]


def golden_answers(programs: Mapping[str, Program], weights: PyTree, *, vocab_size: int = 1,
                   context: int = LENGTH) -> Golden:
    """Return the answers of all programs.

    Args:
        programs: whose functions are called.
        weights: as they are stored.
        vocab_size: tokens are drawn below it.
        context: longest row the model reads.
    """
    arrays: dict[str, np.ndarray] = {}
    about = {}
    for name, program in programs.items():
        rows = 1 if any(numbers(s) > LARGE_ROW for s in program.inputs.values()
                        if "b" in s["shape"]) else ROWS
        sizes = {"b": rows, "l": min(LENGTH, context), "n": PAGES, "p": PAGE, "m": PAGES * rows + 1}
        given, filled = arguments(program, sizes, vocab_size)
        outputs = jax.jit(program.function)(weights, unflatten(given))
        arrays |= {f"{name}/inputs/{key}": value for key, value in given.items()
                   if key not in filled}
        arrays |= {f"{name}/outputs/{key}/{part}": value
                   for key, leaf in named_leaves(outputs).items()
                   if np.issubdtype(leaf.dtype, np.floating)
                   for part, value in summary(np.asarray(leaf)).items()}
        about[name] = {"sizes": {s: n for s, n in sizes.items() if s in symbols(program)},
                       "filled": filled}
    return Golden(arrays, about)


def numbers(spec: Mapping[str, Any]) -> int:
    """Return how many numbers one row of an argument has, its symbols aside."""
    return math.prod(n for n in spec["shape"] if isinstance(n, int))


def symbols(program: Program) -> set[str]:
    """Return the symbols that stand for sizes of a program's arguments."""
    return {n for spec in program.inputs.values() for n in spec["shape"] if isinstance(n, str)}


def arguments(program: Program, sizes: dict[str, int], vocab_size: int,
              ) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return a program's arguments by slash-separated name, and which of them are filled."""
    draw, given, filled = np.random.default_rng(0), {}, []
    for name, spec in program.inputs.items():
        shape = tuple(n if isinstance(n, int) else sizes.setdefault(n, OTHER)
                      for n in spec["shape"])
        dtype = np.dtype(spec["dtype"])
        if np.issubdtype(dtype, np.floating):
            given[name] = fill(shape).astype(dtype)
            if name.startswith(("cache/", "adapters/")) or given[name].nbytes > LARGEST_KEPT:
                filled.append(name)
            else:
                given[name] = draw.random(shape, np.float32).astype(dtype)
        else:
            given[name] = integers(name, shape, sizes, draw, vocab_size).astype(dtype)
    return given, filled


def integers(name: str, shape: tuple[int, ...], sizes: Mapping[str, int],
             draw: np.random.Generator, vocab_size: int) -> np.ndarray:
    """Return an integer argument of a function by what its name means; 0 where that is unknown."""
    if name in ("tokens", "token"):
        return draw.integers(vocab_size, size=shape)
    if name == "last":                         # one row ends before its padding
        return np.maximum(sizes["l"] - 1 - np.arange(shape[0]), 0)
    if name == "position":
        return np.arange(shape[0]) + min(3, sizes["l"] - 1)
    if name == "adapter":                      # each row another place
        return np.arange(shape[0])
    if name == "table":                        # a page is of one row, and page 0 of none
        return 1 + np.arange(np.prod(shape)).reshape(shape)
    return np.zeros(shape)
