"""Next-token prediction, the causal language-model objective (Radford et al. 2018-2019).

https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
Reads tokens, targets, positions, segment_ids i32 [B, L] and loss_weight f32 [B, L] (0 on padding).
"""

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Inputs, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.nn.loss import cross_entropy

TINY: dict[str, object] = {}
INPUTS = ("tokens", "positions", "segment_ids")


def make(model: Model, *, z_loss: float = 0.0, router_balance: float = 0.01,
         router_z: float = 0.001) -> Objective:
    """Return the objective: nats of every target, weighted.

    Args:
        model: a decoder; reads tokens, positions and segment_ids, returns logits [B, L, V].
        z_loss: weight of log(Z)**2, which keeps logits from drifting (PaLM, section 5,
            https://arxiv.org/abs/2204.02311).
        router_balance: weight of the loss that keeps the experts of a mixture evenly used.
        router_z: weight of the loss that keeps its router's logits small; the defaults of both
            are ST-MoE's (https://arxiv.org/abs/2202.08906).
    """
    weights = {"balance": router_balance, "z": router_z}

    def inputs(batch: Batch) -> Inputs:
        return {name: batch[name] for name in INPUTS}

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        params, stats = model.init(key, inputs(batch))
        return params, {"stats": stats}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        outputs = model.apply(params, inputs(batch), stats=extra["stats"], key=key, train=True)
        nats = cross_entropy(outputs["logits"], batch["targets"])
        weight = jnp.sum(batch["loss_weight"])
        total = jnp.sum(nats * batch["loss_weight"])
        metrics = {"nats_per_token": (total, weight)}
        if z_loss:
            squared = jax.nn.logsumexp(outputs["logits"], axis=-1) ** 2
            total += z_loss * jnp.sum(squared * batch["loss_weight"])
        # Sums over tokens as the nats are, so microbatches add up to the same total.
        total += sum(weights[name] * value for name, (value, _) in
                     outputs.get("losses", {}).items())
        metrics |= outputs.get("metrics", {})
        return total, (weight, {"stats": outputs["stats"]}, metrics)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        del step
        return params, extra

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return params, extra["stats"]

    return Objective(init, loss, update, encoder, coupled=False)
