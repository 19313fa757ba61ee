"""Trace a model into portable StableHLO programs with jax.export, weights as arguments.

Every program is a function (weights, inputs) -> outputs over nested dicts of arrays, with symbolic
sizes, lowered for every platform at once; see https://docs.jax.dev/en/latest/export/export.html.
Weights stay arguments: baked in, a program of 130 kB grows to the size of the weights and needs
twice the memory and compile time to load. Sizes: b rows, l tokens of a row, t cache entries of a
row. A fresh cache is all zeros.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export

from ssljax.core.tree import named_leaves
from ssljax.core.types import Model, PyTree

PLATFORMS = ("cpu", "cuda", "tpu")
Arrays = Mapping[str, Any]
Specs = dict[str, dict[str, Any]]      # {"cache/k": {"shape": [4, "b", "t", 2, 16], "dtype": ...}}


class Program(NamedTuple):
    """One exported function and how to call it.

    data:        the serialised jax.export.Exported
    inputs:      slash-separated name -> shape (sizes or symbols) and dtype
    outputs:     the same of what it returns
    constraints: what the symbols must obey; callers check, the runtime's message is obscure
    """

    data: bytes
    inputs: Specs
    outputs: Specs
    constraints: tuple[str, ...]


def decoder_programs(model: Model, weights: PyTree) -> dict[str, Program]:
    """Return score, prefill, decode and embed of a language model.

    score:   tokens i32 [b, l] -> logits f32 [b, l, V]
    embed:   tokens i32 [b, l], last i32 [b] -> pooled f32 [b, D], the mean over positions 0..last
             of what the last block returns, normed
    prefill: tokens i32 [b, l], last i32 [b] (index of each row's last real token) and cache
             [.., b, t, ..] -> logits f32 [b, V] after that token, cache
    decode:  token i32 [b], position i32 [b], cache -> logits f32 [b, V], cache

    Args:
        model: a network whose `init_cache` is a function.
        weights: {"params": ..., "stats": ... if any}; arrays or ShapeDtypeStructs.
    """
    return {
        "score": trace(score(model), weights, lambda s: {"tokens": i32(s("b, l"))},
                       constraints=("b >= 1", "l >= 1")),
        "embed": trace(embed_tokens(model), weights, lambda s: {
            "tokens": i32(s("b, l")), "last": i32(s("b"))}, constraints=("b >= 1", "l >= 1")),
        "prefill": trace(prefill(model), weights, lambda s: {
            "tokens": i32(s("b, l")), "last": i32(s("b")),
            "cache": cache_spec(model, weights, s("b, t"))},
            constraints=("b >= 1", "l >= 1", "t >= l")),
        "decode": trace(decode(model), weights, lambda s: {
            "token": i32(s("b")), "position": i32(s("b")),
            "cache": cache_spec(model, weights, s("b, t"))},
            constraints=("b >= 1", "t >= 1")),
    }


def encoder_programs(model: Model, weights: PyTree, *,
                     image: tuple[int, int, int]) -> dict[str, Program]:
    """Return embed: image f32 [b, H, W, C] -> pooled f32 [b, D], for images of one size."""
    def spec(sizes: Callable[[str], tuple[Any, ...]]) -> Arrays:
        return {"image": jax.ShapeDtypeStruct((*sizes("b"), *image), jnp.float32)}

    return {"embed": trace(embed(model), weights, spec, constraints=("b >= 1",))}


def score(model: Model) -> Callable[[PyTree, Arrays], Arrays]:
    """Return the program's function: logits of every position, without a cache."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        return {"logits": run(model, weights, {"tokens": inputs["tokens"]})["logits"]}

    return call


def prefill(model: Model) -> Callable[[PyTree, Arrays], Arrays]:
    """Return the program's function: read prompts from position 0 into the cache."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        tokens = inputs["tokens"]
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
        out = run(model, weights, {"tokens": tokens, "positions": positions}, inputs["cache"])
        last = jnp.take_along_axis(out["logits"], inputs["last"][:, None, None], axis=1)
        return {"logits": last[:, 0], "cache": out["cache"]}

    return call


def decode(model: Model) -> Callable[[PyTree, Arrays], Arrays]:
    """Return the program's function: one more token of every row."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        rows = {"tokens": inputs["token"][:, None], "positions": inputs["position"][:, None]}
        out = run(model, weights, rows, inputs["cache"])
        return {"logits": out["logits"][:, 0], "cache": out["cache"]}

    return call


def embed(model: Model) -> Callable[[PyTree, Arrays], Arrays]:
    """Return the program's function: one vector per image."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        return {"pooled": run(model, weights, inputs)["pooled"].astype(jnp.float32)}

    return call


def embed_tokens(model: Model) -> Callable[[PyTree, Arrays], Arrays]:
    """Return the program's function: one vector per row of tokens, whatever pads it."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        tokens, last = inputs["tokens"], inputs["last"][:, None]
        sequence = run(model, weights, {"tokens": tokens})["sequence"].astype(jnp.float32)
        real = (jnp.arange(tokens.shape[1]) <= last).astype(jnp.float32)
        return {"pooled": jnp.einsum("bl,bld->bd", real, sequence) / (last + 1)}

    return call


def run(model: Model, weights: PyTree, inputs: Arrays, cache: PyTree = None) -> Arrays:
    """Apply the model as the trainer's evaluation does: no key, no dropout, stored statistics."""
    return model.apply(weights["params"], inputs, stats=weights.get("stats"), cache=cache)


def trace(function: Callable[[PyTree, Arrays], Arrays], weights: PyTree,
          inputs: Callable[[Callable[[str], tuple[Any, ...]]], Arrays], *,
          constraints: tuple[str, ...]) -> Program:
    """Export `function` for PLATFORMS.

    Args:
        function: (weights, inputs) -> outputs.
        weights: arrays or shapes; only shapes and dtypes are read.
        inputs: handed a parser of sizes such as "b, l", returns the ShapeDtypeStructs.
        constraints: what the symbols obey; a symbol that no input has is an error.
    """
    scope = export.SymbolicScope(constraints)
    specs = inputs(lambda sizes: export.symbolic_shape(sizes, scope=scope))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), weights)
    with no_source_paths():
        exported = export.export(jax.jit(function), platforms=PLATFORMS)(shapes, specs)
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return Program(bytes(exported.serialize()), describe(specs), describe(outputs), constraints)


@contextlib.contextmanager
def no_source_paths() -> Iterator[None]:
    """Keep file paths of this machine out of what is lowered inside; it is 14 % smaller as well."""
    flag = "jax_traceback_in_locations_limit"      # a setting of the process, so put it back
    before = getattr(jax.config, flag)
    jax.config.update(flag, 0)
    try:
        yield
    finally:
        jax.config.update(flag, before)


def cache_spec(model: Model, weights: PyTree, sizes: tuple[Any, ...]) -> PyTree:
    """Return the shapes of the model's cache for symbolic (rows, entries)."""
    return jax.eval_shape(lambda p: model.init_cache(p, *sizes), weights["params"])


def describe(tree: PyTree) -> Specs:
    """Return shape and dtype of each leaf as plain data; symbols become strings."""
    def shape(leaf: Any) -> list[int | str]:
        return [n if isinstance(n, int) else str(n) for n in leaf.shape]

    return {name: {"shape": shape(leaf), "dtype": str(leaf.dtype)}
            for name, leaf in named_leaves(tree).items()}


def i32(shape: tuple[Any, ...]) -> jax.ShapeDtypeStruct:
    """Return the spec of int32 ids of `shape`."""
    return jax.ShapeDtypeStruct(shape, jnp.int32)
