"""iBOT: DINO between crops, and the same game between the patches of a crop, some of them hidden.

Zhou et al. 2022, https://arxiv.org/abs/2111.07832 (section 3.2). Reads view1, view2 f32
[B, H, W, C], hidden1, hidden2 bool [B, N] (patches the student does not see; images without any
are fine) and, where the pretext has them, local f32 [B, V, h, w, C]. One head names class tokens
and patches; each has a centre of its own. Evaluation uses the teacher's encoder without its head.
"""

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.distillation import Centring, Game, steps_of, warm_temperature
from ssljax.families.patch_distillation import patch_round
from ssljax.families.prototypes import prototype_head
from ssljax.families.student_teacher import crop_round, make_networks
from ssljax.families.teacher import cosine_momentum

TINY = {"out_dim": 32, "hidden_dim": 32, "bottleneck_dim": 16, "hold": 0,
        "centre_momentum": 0.999}


def make(model: Model, *, total_steps: int, out_dim: int = 4096, hidden_dim: int = 2048,
         bottleneck_dim: int = 256, class_weight: float = 1.0, patch_weight: float = 1.0,
         max_hidden: float = 0.5, temperature: float = 0.1, teacher_temperature: float = 0.07,
         teacher_start: float = 0.04, teacher_warmup: float = 0.3, centring: Centring = "centre",
         centre_momentum: float = 0.9, momentum: float = 0.996, hold: float = 0.01) -> Objective:
    """Return iBOT around a vision transformer with a mask token.

    Args:
        model: reads image and hidden, returns patches [B, N, D] and class or pooled [B, D].
        total_steps: steps of the run; the teacher's momentum reaches 1 there.
        out_dim: K, the prototypes of the shared head; 8,192 on ImageNet.
        hidden_dim: F of the head's two hidden layers.
        bottleneck_dim: E, where the head compares with prototypes.
        class_weight: of the nats between crops,
        patch_weight: and of those of hidden patches.
        max_hidden: largest fraction of patches that the pretext hides.
        temperature: the student's.
        teacher_temperature: the teacher's after its warm-up,
        teacher_start: and at the first step.
        teacher_warmup: length of that warm-up: a fraction of the run, or from 1 on steps.
        centring: what keeps all prototypes in use: moving centres, or Sinkhorn's assignments.
        centre_momentum: what the centres keep of themselves.
        momentum: what the teacher keeps of itself at first; 0.9995 in long runs at batch 256.
        hold: how long prototypes get no gradient: a fraction of the run, or from 1 on steps.
    """
    head = prototype_head((hidden_dim, hidden_dim, bottleneck_dim), out_dim)
    warm = warm_temperature(teacher_start, teacher_temperature,
                            steps_of(teacher_warmup, total_steps))
    game = Game(temperature, warm, centring, centre_momentum)
    networks = make_networks(model, {"class_head": head}, cosine_momentum(momentum, total_steps),
                             centres=dict.fromkeys(("class_centre", "patch_centre"), out_dim),
                             hold_steps=steps_of(hold, total_steps), masked=True)

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        played = crop_round(networks, game, params, extra, batch, key)
        nats, moved, metrics = patch_round(head, "class_head", game, played, batch, max_hidden)
        weight = jnp.float32(batch["view1"].shape[0])
        total = class_weight * played.nats + patch_weight * nats
        return total, (weight, moved, {**played.metrics, **metrics})

    return Objective(networks.init, loss, networks.update, networks.encoder, coupled=True)
