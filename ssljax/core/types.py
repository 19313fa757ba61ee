"""The nouns of ssljax: what flows between packages, and nothing else.

They are to this project what optax.GradientTransformation is to optax: tuples of pure functions.
Shapes: B global batch, L length, N patches, D width, H heads, K head width, V vocabulary.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ssljax.core.source import Record

PyTree = Any
Params = PyTree                            # nested dicts of float32 arrays
Key = jax.Array                            # a typed PRNG key, jax.random.key(...)
Batch = Mapping[str, jax.Array]            # leading axis of every leaf: the global batch
Example = Mapping[str, Any]                # one row of a batch, fixed shapes
Inputs = Mapping[str, jax.Array]           # tokens, positions, segment_ids, image, visible, ...
Outputs = Mapping[str, Any]                # pooled, sequence, table, logits, losses, stats, ...
Metrics = Mapping[str, tuple[jax.Array, jax.Array]]   # name -> (sum, weight), float32 []
Judgement = Mapping[str, tuple[float, tuple[float, float]]]  # name -> (value, (low, high) of 95 %)


class Model(NamedTuple):
    """A network as pure functions over mappings; nothing above models/ knows the layer library.

    init:       (key, inputs) -> (params, stats); stats are batch statistics, {} without any
    apply:      (params, inputs, *, stats=None, cache=None, key=None, train=False) -> outputs.
                A decoder that is training returns no logits but what they are the product of:
                sequence [B, L, D] and table [V, D] (nn.loss.next_token_nats reads either)
    init_cache: (params, batch, length) -> cache of a decoder for `batch` rows of `length`
                tokens; None for networks that do not generate
    lr_scales:  regular expression of a weight's last name -> factor of its learning rate, for
                networks whose hyper-parameters carry over from another width (muP)
    """

    init: Callable[[Key, Inputs], tuple[Params, PyTree]]
    apply: Callable[..., Outputs]
    init_cache: Callable[[Params, int, int], PyTree] | None = None
    lr_scales: Mapping[str, float] | None = None


class Reconstruction(NamedTuple):
    """How a method that predicts patches is judged beside interpolation (evals.reconstruction).

    predict: (params, extra, batch, key) -> (predicted [B, N, P], scored bool [B, N], which patches
             are judged, seen bool [B, N, N], which patches the prediction of each may have read)
    targets: (image [B, H, W, C]) -> [B, N, P], what the predictions should be
    pixels:  whether targets are the image's own values, so that errors have the unit of pixels
    """

    predict: Callable[[Params, PyTree, Batch, Key], tuple[jax.Array, jax.Array, jax.Array]]
    targets: Callable[[jax.Array], jax.Array]
    pixels: bool


class Objective(NamedTuple):
    """A self-supervised method as pure functions.

    init:    (key, batch) -> (params, extra); extra is all that moves without a gradient
    loss:    (params, extra, batch, key) -> (sum, (weight, extra, metrics)); the loss is a sum
             and its weight so that denominators stay exact under accumulation and packing
    update:  (params, extra, step) -> (params, extra), after the optimizer (EMA teachers, ...)
    encoder: (params, extra) -> (model_params, stats): the method's documented encoder for
             evaluation, transfer and export
    coupled: whether the loss of a row depends on other rows of the batch (contrast, batch
             norm); such methods refuse gradient accumulation
    reconstruct: how its predictions of patches are judged; None where it predicts none
    sample:  (params, extra, key, like, **options) -> Batch, new rows of the data, for methods that
             generate; of `like`, a batch, shapes alone are read (ShapeDtypeStructs will do), and
             options are keywords with defaults. `Pretext.render` makes images of the result
    """

    init: Callable[[Key, Batch], tuple[Params, PyTree]]
    loss: Callable[[Params, PyTree, Batch, Key],
                   tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]]
    update: Callable[[Params, PyTree, jax.Array], tuple[Params, PyTree]]
    encoder: Callable[[Params, PyTree], tuple[Params, PyTree]]
    coupled: bool = False
    reconstruct: Reconstruction | None = None
    sample: Callable[..., Batch] | None = None


class TrainState(NamedTuple):
    """Everything a run needs to continue; one pytree, checkpointed as one."""

    step: jax.Array          # int32 []
    params: Params           # float32; moved by the optimizer
    opt_state: PyTree
    extra: PyTree            # moved by the objective: EMA teacher, queue, centre, statistics
    frozen: PyTree           # weights without gradient (LoRA base, reference policy)
    key: Key                 # []; the key of step t is fold_in(key, t)
    guard: PyTree = ()       # what judges the next step: train.guard.Guard


class Pretext(NamedTuple):
    """How a record becomes what the objective reads.

    example: (record, numpy Generator) -> example, on the host, random, fixed shapes
    plain:   (record) -> example, the deterministic transform of evaluation and serving
    views:   (key, example) -> example, on the device, of one example; the train step vmaps it
    spec:    name -> (shape, dtype) of the example's arrays, without the batch axis
    render:  (batch) -> images float32 [n, H, W, C] in [0, 1], back from what the objective reads
             and generates; None where nobody generates
    """

    example: Callable[[Record, np.random.Generator], Example]
    plain: Callable[[Record], Example]
    views: Callable[[Key, Example], Example]
    spec: Mapping[str, tuple[tuple[int, ...], str]]
    render: Callable[[Batch], jax.Array] | None = None


class Evaluator(NamedTuple):
    """A judgement of a training state; it was handed its own data when it was made.

    every: steps between judgements during training; 0 means only when asked
    run:   (params, extra) -> {name: (value, (low, high))}, the 95 % interval beside the value
    """

    every: int
    run: Callable[[Params, PyTree], Judgement]


class Writer(NamedTuple):
    """A place for metrics.

    write: (step, {name: value}) -> None; values are Python floats at full precision
    close: () -> None
    """

    write: Callable[[int, Mapping[str, float]], None]
    close: Callable[[], None]
