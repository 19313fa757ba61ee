"""The smallest networks whose every dimension divides over every axis of eight devices."""

import functools

import jax
import numpy as np
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.core.tree import named_leaves
from ssljax.runs.build import Method, build_method
from ssljax.train.state import init_state, with_views
from ssljax.train.step import accumulated, gradient_sums
from tests.contracts.cases import OPTIM, config_of, stream_of

BATCH_SIZE = 16
GPT = {"name": "gpt", "vocab_size": 64, "width": 32, "depth": 4, "num_heads": 4, "mlp_dim": 32}
VIT = {"depth": 4, "width": 32, "num_heads": 4}
MODELS = {
    "gpt": ("next_token", GPT),
    "moe": ("next_token", GPT | {"experts": 4, "experts_per_token": 2}),
    "mae": ("mae", {"name": "vit", "patch_size": 2, "image_size": 8, "channels": 1} | VIT),
}
# Every axis alone, and every pair that a run would combine.
MESHES = ({"data": 8}, {"fsdp": 8}, {"data": 2, "tensor": 4}, {"data": 2, "context": 4},
          {"expert": 4, "fsdp": 2}, {"stage": 4, "data": 2}, {"stage": 2, "fsdp": 4},
          {"data": 2, "fsdp": 2, "tensor": 2}, {"fsdp": 2, "context": 2, "tensor": 2},
          {"stage": 2, "fsdp": 2, "tensor": 2}, {"stage": 2, "data": 2, "context": 2},
          {"stage": 2, "expert": 2, "fsdp": 2}, {"expert": 2, "context": 2, "tensor": 2})
KINDS = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}


@functools.cache
def method_of(network: str, optim: str = "adamw", **options) -> Method:
    """Return the method of a network; options are added to the model's."""
    objective, model = MODELS[network]
    config = config_of(objective) | {"batch_size": BATCH_SIZE}
    if optim != "adamw":
        config |= {"optim": {"name": optim, "lr": 1e-2}}
    config["model"] = {**model, **options}
    if "decoder" in config["objective"]:
        config["objective"]["decoder"] |= VIT
    return build_method({**OPTIM, **config})


@functools.cache
def rows_of(network: str) -> dict[str, np.ndarray]:
    """Return one batch on the host; four of its rows are padding, in one microbatch."""
    batch = dict(stream_of(method_of(network)).host_rows(0, 0, 1))
    if "loss_weight" in batch:
        batch["loss_weight"] = batch["loss_weight"] * (np.arange(BATCH_SIZE) < 12)[:, None]
    return batch


def loss_and_gradients(network: str, sizes: dict[str, int] | None, kind: str = "auto", *,
                       accumulate: int = 1, compute_dtype: str = "float32", **options,
                       ) -> tuple[float, dict[str, np.ndarray]]:
    """Return the mean loss of the batch and its gradient by every parameter, on a mesh."""
    method = method_of(network, **options)
    batch = rows_of(network)
    mesh = sharding.make_mesh(sizes, KINDS[kind]) if sizes else None
    sums = gradient_sums(method.objective, compute_dtype)
    sums = accumulated(sums, accumulate) if accumulate > 1 else sums

    def mean(state, batch):
        batch = with_views(method.pretext.views, state.key, batch)
        (total, weight, grads, metrics), _ = sums(state.params, state.extra, batch, state.key)
        return total / weight, jax.tree.map(lambda g: g / weight, grads), metrics

    with sharding.use_mesh(mesh):
        state = init_state(method.init, method.key, mesh)
        loss, grads, metrics = jax.jit(mean)(state, sharding.place_batch(mesh, batch))
        return float(loss), {n: np.asarray(g) for n, g in named_leaves(grads).items()} | {
            f"metrics/{n}": np.asarray(s / w) for n, (s, w) in metrics.items()}


alone = functools.cache(lambda network: loss_and_gradients(network, None))


def assert_as_alone(network: str, sizes: dict[str, int] | None, kind: str = "auto",
                    **options) -> None:
    """Assert that loss, gradients and metrics equal one device's within float32 rounding."""
    loss, grads = loss_and_gradients(network, sizes, kind, **options)
    expected_loss, expected = alone(network)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    assert grads.keys() == expected.keys()
    # A spread over rows is not a sum: that of microbatches is another number, not a wrong one.
    skipped = {"metrics/embedding_std"} if options.get("accumulate", 1) > 1 else set()
    for name in expected.keys() - skipped:
        grad = expected[name]
        np.testing.assert_allclose(grads[name], grad, rtol=1e-4, atol=2e-5 * np.abs(grad).max(),
                                   err_msg=f"{name} of {network} on {kind} {sizes}")
