"""DINO: a student names the crops of an image as its teacher names other crops of it.

Caron et al. 2021, https://arxiv.org/abs/2104.14294 (algorithm 1, appendix C). Reads view1, view2
f32 [B, H, W, C] and, where the pretext has them, local f32 [B, V, h, w, C]. The teacher is the
student's moving average; its class tokens, or what the network pools, are named by a sharp and
centred softmax over prototypes. Evaluation uses the teacher's encoder without its head.
"""

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.distillation import Centring, Game, steps_of, warm_temperature
from ssljax.families.prototypes import prototype_head
from ssljax.families.student_teacher import crop_round, make_networks
from ssljax.families.teacher import cosine_momentum

TINY = {"out_dim": 32, "hidden_dim": 32, "bottleneck_dim": 16, "hold": 0,
        "centre_momentum": 0.999}


def make(model: Model, *, total_steps: int, out_dim: int = 4096, hidden_dim: int = 2048,
         bottleneck_dim: int = 256, temperature: float = 0.1,
         teacher_temperature: float = 0.07, teacher_start: float = 0.04,
         teacher_warmup: float = 0.3, centring: Centring = "centre",
         centre_momentum: float = 0.9, momentum: float = 0.996, hold: float = 0.01) -> Objective:
    """Return DINO around an encoder that pools.

    Args:
        model: reads image of every crop's size, returns class or pooled [B, D].
        total_steps: steps of the run; the teacher's momentum reaches 1 there.
        out_dim: K, the prototypes; 65,536 on ImageNet, a few thousand on small data.
        hidden_dim: F of the head's two hidden layers.
        bottleneck_dim: E, where the head compares with prototypes.
        temperature: the student's.
        teacher_temperature: the teacher's after its warm-up,
        teacher_start: and at the first step.
        teacher_warmup: length of that warm-up: a fraction of the run, or from 1 on steps.
        centring: what keeps all prototypes in use: a moving centre, or Sinkhorn's assignments.
        centre_momentum: what the centre keeps of itself.
        momentum: what the teacher keeps of itself at first; 0.9995 in long runs at batch 256.
        hold: how long prototypes get no gradient: a fraction of the run, or from 1 on steps.
    """
    head = prototype_head((hidden_dim, hidden_dim, bottleneck_dim), out_dim)
    warm = warm_temperature(teacher_start, teacher_temperature,
                            steps_of(teacher_warmup, total_steps))
    game = Game(temperature, warm, centring, centre_momentum)
    networks = make_networks(model, {"class_head": head}, cosine_momentum(momentum, total_steps),
                             centres={"class_centre": out_dim},
                             hold_steps=steps_of(hold, total_steps), masked=False)

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        played = crop_round(networks, game, params, extra, batch, key)
        weight = jnp.float32(batch["view1"].shape[0])
        return played.nats, (weight, played.extra, played.metrics)

    return Objective(networks.init, loss, networks.update, networks.encoder, coupled=True)
