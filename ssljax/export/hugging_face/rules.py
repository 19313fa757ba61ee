"""Which weights of another library are which of ours, as data that is read in both directions.

A matrix of ours is [inputs, outputs], its heads and parts as axes of their own, all layers in one
array; theirs are one matrix a layer and part, as torch.nn.Linear ([outputs, inputs]) or GPT-2's
Conv1D ([inputs, outputs]) keep them. Reads and returns arrays on the host.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.errors import ArtefactError
from ssljax.core.tree import named_leaves, unflatten
from ssljax.core.types import PyTree

Tensors = Mapping[str, np.ndarray]


class Rule(NamedTuple):
    """One weight of ours, and those of theirs that hold the same numbers.

    ours:   slash-separated name among our params
    theirs: their names, {} the number of the layer; several where ours stacks them
    inputs: how many first axes of ours are the inputs of their matrix; 0 where theirs is a vector
    turned: whether theirs is [outputs, inputs]
    stack:  axis of ours along which several of theirs are stacked
    """

    ours: str
    theirs: tuple[str, ...]
    inputs: int = 0
    turned: bool = False
    stack: int = 0

    @property
    def layered(self) -> bool:
        """Say whether ours has the layers as its first axis."""
        return "{}" in self.theirs[0]


def to_params(rules: Sequence[Rule], tensors: Tensors, shapes: PyTree) -> PyTree:
    """Return our params, float32.

    Args:
        rules: one for each of our weights.
        tensors: theirs by name.
        shapes: of our params, such as jax.eval_shape returns them.

    Raises:
        ArtefactError: a tensor is missing or of another size, naming it.
    """
    wanted = {name: leaf.shape for name, leaf in named_leaves(shapes).items()}
    params = {}
    for rule in rules:
        shape = wanted[rule.ours]
        params[rule.ours] = (
            np.stack([joined(rule, tensors, str(i), shape[1:]) for i in range(shape[0])])
            if rule.layered else joined(rule, tensors, "", shape))
    return unflatten({name: params[name] for name in wanted})


def joined(rule: Rule, tensors: Tensors, layer: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return one layer's weight of ours, of `shape`."""
    several = len(rule.theirs) > 1
    part = shape[:rule.stack] + shape[rule.stack + 1:] if several else shape
    parts = [turned(rule, find(tensors, name.format(layer), flat_shape(rule, part))).reshape(part)
             for name in rule.theirs]
    return np.stack(parts, rule.stack) if several else parts[0]


def find(tensors: Tensors, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the tensor `name` as float32.

    Raises:
        ArtefactError: there is none, or it has another shape.
    """
    if name not in tensors:
        raise ArtefactError(f"The weights have no {name}, which config.json asks for; are they of "
                            "this model, and whole?")
    found = tensors[name]
    if found.shape != shape:
        raise ArtefactError(f"{name} has shape {found.shape}; config.json makes it {shape}.")
    return found.astype(np.float32)


def flat_shape(rule: Rule, part: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that theirs has for a part of ours."""
    if not rule.inputs:
        return (math.prod(part),)
    matrix = (math.prod(part[:rule.inputs]), math.prod(part[rule.inputs:]))
    return matrix[::-1] if rule.turned else matrix


def turned(rule: Rule, matrix: np.ndarray) -> np.ndarray:
    """Return a matrix of theirs as ours has it, and the other way round."""
    return matrix.T if rule.turned else matrix


def to_tensors(rules: Sequence[Rule], params: PyTree) -> dict[str, np.ndarray]:
    """Return their tensors by name; the inverse of `to_params`."""
    leaves: Mapping[str, Any] = named_leaves(params)
    tensors = {}
    for rule in rules:
        leaf = np.asarray(leaves[rule.ours])
        layers = enumerate(leaf) if rule.layered else [("", leaf)]
        for layer, weight in layers:
            parts = np.moveaxis(weight, rule.stack, 0) if len(rule.theirs) > 1 else [weight]
            for name, part in zip(rule.theirs, parts, strict=True):
                shape = flat_shape(rule._replace(turned=False), part.shape)
                tensors[name.format(layer)] = np.ascontiguousarray(
                    turned(rule, part.reshape(shape)))
    return tensors
