"""Trace a model into portable StableHLO programs with jax.export, weights as arguments.

Every program is a function (weights, inputs) -> outputs over nested dicts of arrays, with symbolic
sizes, lowered for every platform at once; see https://docs.jax.dev/en/latest/export/export.html.
Weights stay arguments: baked in, a program of 130 kB grows to the size of the weights and needs
twice the memory and compile time to load. Sizes: b rows, l tokens of a row, m pages of p tokens,
n pages of a row. A fresh cache is all zeros.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export

from ssljax.core.tree import named_leaves
from ssljax.core.types import Model, PyTree
from ssljax.export.adapters import Room, adapter_inputs, chosen
from ssljax.export.quantise import dense, is_packed
from ssljax.nn.matmul import turned_products
from ssljax.nn.paged import as_pages
from ssljax.nn.stack import unstacked

PLATFORMS = ("cpu", "cuda", "tpu")
Arrays = Mapping[str, Any]
Function = Callable[[PyTree, Arrays], Arrays]
Specs = dict[str, dict[str, Any]]      # {"cache/k": {"shape": [4, "b", "t", 2, 16], "dtype": ...}}


class Program(NamedTuple):
    """One exported function and how to call it.

    data:        the serialised jax.export.Exported
    inputs:      slash-separated name -> shape (sizes or symbols) and dtype
    outputs:     the same of what it returns
    constraints: what the symbols must obey; callers check, the runtime's message is obscure
    function:    (weights, inputs) -> outputs, what was traced; for answers to compare with
    """

    data: bytes
    inputs: Specs
    outputs: Specs
    constraints: tuple[str, ...]
    function: Function


def decoder_programs(model: Model, weights: PyTree, *,
                     adapters: Room | None = None) -> dict[str, Program]:
    """Return score, embed, sequence, prefill and decode of a language model.

    score:   tokens i32 [b, l] -> logits f32 [b, l, V]
    embed:   tokens i32 [b, l], last i32 [b] -> pooled f32 [b, D], the mean over positions 0..last
             of what the last block returns, normed
    sequence: tokens i32 [b, l] -> sequence f32 [b, l, D], that of every position
    prefill: tokens i32 [b, l] that follow on `start` i32 [b] earlier ones of their rows, last
             i32 [b] (index of each row's last real token), table i32 [b, n] and cache of m pages
             of p tokens (nn/paged.py) -> logits f32 [b, V] after that token, cache
    decode:  token i32 [b], position i32 [b], table, cache -> logits f32 [b, V], cache
    verify:  tokens i32 [b, l], start i32 [b], table, cache -> logits f32 [b, l, V] after each,
             cache

    With room for adapters each reads their stacks too, and adapter i32 [b] (adapters.py).

    Args:
        model: a network whose `init_cache` is a function.
        weights: {"params": ..., "stats": ... if any}; arrays or ShapeDtypeStructs, large ones
            perhaps quantised (quantise.py).
        adapters: room for them; needs weights of each layer apart.
    """
    params = jax.eval_shape(lambda w: dense(w)["params"], weights)
    pages = ("m >= 2", "n >= 1", "p >= 1")          # page 0 is nobody's

    def adapted(s: Callable[[str], tuple[Any, ...]]) -> Arrays:
        return adapter_inputs(adapters, params, s("b"))

    def paged(s: Callable[[str], tuple[Any, ...]]) -> Arrays:
        return {"table": i32(s("b, n")), "cache": cache_spec(model, weights, s("m, p")),
                **adapted(s)}

    # Rounded weights are made whole as they lie, with what is summed first.
    with turned_products(not any(map(is_packed, jax.tree.leaves(weights, is_leaf=is_packed)))):
        return {
            "score": trace(score(model), weights, lambda s: {
                "tokens": i32(s("b, l")), **adapted(s)}, constraints=("b >= 1", "l >= 1")),
            "embed": trace(embed_tokens(model), weights, lambda s: {
                "tokens": i32(s("b, l")), "last": i32(s("b")), **adapted(s)},
                constraints=("b >= 1", "l >= 1")),
            "sequence": trace(sequence(model), weights, lambda s: {
                "tokens": i32(s("b, l")), **adapted(s)}, constraints=("b >= 1", "l >= 1")),
            "prefill": trace(prefill(model), weights, lambda s: {
                "tokens": i32(s("b, l")), "start": i32(s("b")), "last": i32(s("b")),
                **paged(s)}, constraints=("b >= 1", "l >= 1", *pages)),
            "decode": trace(decode(model), weights, lambda s: {
                "token": i32(s("b")), "position": i32(s("b")), **paged(s)},
                constraints=("b >= 1", *pages)),
            "verify": trace(verify(model), weights, lambda s: {
                "tokens": i32(s("b, l")), "start": i32(s("b")), **paged(s)},
                constraints=("b >= 1", "l >= 1", *pages)),
        }


def encoder_programs(model: Model, weights: PyTree, *,
                     image: tuple[int, int, int]) -> dict[str, Program]:
    """Return embed of an image encoder and, where there is something to tell, sequence, classify.

    embed:    image f32 [b, H, W, C] -> pooled f32 [b, D]
    sequence: image -> sequence f32 [b, T, D], a vector for each token or patch, of networks that
              have them
    classify: image -> logits f32 [b, classes], of weights with a "head": {"w": [D, classes], "b"}

    Args:
        model: reads image, returns pooled.
        weights: as for decoders.
        image: height, width and channels; images are of one size.
    """
    def spec(sizes: Callable[[str], tuple[Any, ...]]) -> Arrays:
        return {"image": jax.ShapeDtypeStruct((*sizes("b"), *image), jnp.float32)}

    one = {"image": jax.ShapeDtypeStruct((1, *image), jnp.float32)}
    outputs = jax.eval_shape(lambda w, inputs: run(model, dense(w), inputs), weights, one)
    functions = {"embed": embed(model),
                 **({"sequence": sequence(model)} if "sequence" in outputs else {}),
                 **({"classify": classify(model)} if "head" in weights else {})}
    return {name: trace(function, weights, spec, constraints=("b >= 1",))
            for name, function in functions.items()}


def score(model: Model) -> Function:
    """Return the program's function: logits of every position, without a cache."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        rows = {"tokens": inputs["tokens"], **chosen(inputs)}
        return {"logits": run(model, weights, rows)["logits"]}

    return call


def prefill(model: Model) -> Function:
    """Return the program's function: read the next tokens of prompts into the cache."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        out = extend(model, weights, inputs)
        return {"logits": out["logits"][:, 0], "cache": out["cache"]}

    return call


def verify(model: Model) -> Function:
    """Return the program's function: several tokens of every row, and what comes after each."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        out = extend(model, weights, inputs)
        return {"logits": out["logits"], "cache": out["cache"]}

    return call


def decode(model: Model) -> Function:
    """Return the program's function: one more token of every row."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        out = extend(model, weights, {**inputs, "tokens": inputs["token"][:, None],
                                      "start": inputs["position"]})
        return {"logits": out["logits"][:, 0], "cache": out["cache"]}

    return call


def extend(model: Model, weights: PyTree, inputs: Arrays) -> Arrays:
    """Apply the model to tokens that follow on `start` earlier ones, whose pages `table` names."""
    tokens = inputs["tokens"]
    positions = inputs["start"][:, None] + jnp.arange(tokens.shape[1], dtype=jnp.int32)
    rows = {"tokens": tokens, "positions": positions, "table": inputs["table"]}
    rows |= chosen(inputs) | ({"last": inputs["last"]} if "last" in inputs else {})
    # Weights of each layer apart stay as they are; parts of a stack would be copied every step.
    return run(model, {**weights, "params": unstacked(weights["params"])}, rows, inputs["cache"])


def embed(model: Model) -> Function:
    """Return the program's function: one vector per image."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        return {"pooled": run(model, weights, inputs)["pooled"].astype(jnp.float32)}

    return call


def sequence(model: Model) -> Function:
    """Return the program's function: a vector for every position of what the model reads."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        return {"sequence": run(model, weights, inputs)["sequence"].astype(jnp.float32)}

    return call


def classify(model: Model) -> Function:
    """Return the program's function: one logit a class, by the linear head of the weights."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        pooled = run(model, weights, inputs)["pooled"].astype(jnp.float32)
        return {"logits": pooled @ weights["head"]["w"] + weights["head"]["b"]}

    return call


def embed_tokens(model: Model) -> Function:
    """Return the program's function: one vector per row of tokens, whatever pads it."""
    def call(weights: PyTree, inputs: Arrays) -> Arrays:
        tokens, last = inputs["tokens"], inputs["last"][:, None]
        rows = {"tokens": tokens, **chosen(inputs)}
        sequence = run(model, weights, rows)["sequence"].astype(jnp.float32)
        real = (jnp.arange(tokens.shape[1]) <= last).astype(jnp.float32)
        return {"pooled": jnp.einsum("bl,bld->bd", real, sequence) / (last + 1)}

    return call


def run(model: Model, weights: PyTree, inputs: Arrays, cache: PyTree = None) -> Arrays:
    """Apply the model as the trainer's evaluation does: no key, no dropout, stored statistics."""
    return model.apply(weights["params"], inputs, stats=weights.get("stats"), cache=cache)


def trace(function: Function, weights: PyTree,
          inputs: Callable[[Callable[[str], tuple[Any, ...]]], Arrays], *,
          constraints: tuple[str, ...]) -> Program:
    """Export `function` for PLATFORMS.

    Args:
        function: (weights, inputs) -> outputs, of float32 weights; the program takes them as they
            are stored.
        weights: arrays or shapes; only shapes and dtypes are read.
        inputs: handed a parser of sizes such as "b, l", returns the ShapeDtypeStructs.
        constraints: what the symbols obey; a symbol that no input has is an error.
    """
    scope = export.SymbolicScope(constraints)
    specs = inputs(lambda sizes: export.symbolic_shape(sizes, scope=scope))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), weights)

    def stored(weights: PyTree, inputs: Arrays) -> Arrays:
        return function(dense(weights), inputs)

    with no_source_paths():
        exported = export.export(jax.jit(stored), platforms=PLATFORMS)(shapes, specs)
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return Program(bytes(exported.serialize()), describe(specs), describe(outputs), constraints,
                   stored)


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
    """Return the shapes of the model's cache for symbolic (pages, tokens of a page)."""
    return jax.eval_shape(lambda w: as_pages(model.init_cache(dense(w)["params"], *sizes)), weights)


def describe(tree: PyTree) -> Specs:
    """Return shape and dtype of each leaf as plain data; symbols become strings."""
    def shape(leaf: Any) -> list[int | str]:
        return [n if isinstance(n, int) else str(n) for n in leaf.shape]

    return {name: {"shape": shape(leaf), "dtype": str(leaf.dtype)}
            for name, leaf in named_leaves(tree).items()}


def i32(shape: tuple[Any, ...]) -> jax.ShapeDtypeStruct:
    """Return the spec of int32 ids of `shape`."""
    return jax.ShapeDtypeStruct(shape, jnp.int32)
