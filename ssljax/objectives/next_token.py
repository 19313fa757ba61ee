"""Next-token prediction, the causal language-model objective (Radford et al. 2018-2019).

https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
Reads tokens, targets, positions i32 [B, L], loss_weight f32 [B, L] (0 on padding) and, of packed
documents, segment_ids i32 [B, L].
"""

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Inputs, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.nn.loss import Loss, next_token_nats

TINY: dict[str, object] = {}
INPUTS = ("tokens", "positions", "segment_ids")


def make(model: Model, *, loss: Loss = "auto", z_loss: float = 0.0,
         router_balance: float = 0.01, router_z: float = 0.001) -> Objective:
    """Return the objective: nats of every target, weighted.

    Args:
        model: a decoder; reads tokens, positions and segment_ids, returns sequence [B, L, D] and
            table [V, D], or logits [B, L, V].
        loss: "full" holds the logits of all tokens at once, "fused" of a few hundred; "auto" is
            fused from a vocabulary of 4,096 on.
        z_loss: weight of log(Z)**2, which keeps logits from drifting (PaLM, section 5,
            https://arxiv.org/abs/2204.02311).
        router_balance: weight of the loss that keeps the experts of a mixture evenly used.
        router_z: weight of the loss that keeps its router's logits small; the defaults of both
            are ST-MoE's (https://arxiv.org/abs/2202.08906).
    """
    weights = {"balance": router_balance, "z": router_z}

    def inputs(batch: Batch) -> Inputs:
        return {name: batch[name] for name in INPUTS if name in batch}

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        params, stats = model.init(key, inputs(batch))
        return params, {"stats": stats}

    def loss_sum(params: Params, extra: PyTree, batch: Batch, key: Key,
                 ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        outputs = model.apply(params, inputs(batch), stats=extra["stats"], key=key, train=True)
        total, nats = next_token_nats(outputs, batch["targets"], batch["loss_weight"],
                                      z_loss=z_loss, kind=loss)
        weight = jnp.sum(batch["loss_weight"])
        metrics = {"nats_per_token": (nats, weight)}
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

    return Objective(init, loss_sum, update, encoder, coupled=False)
