r"""I-JEPA, https://arxiv.org/abs/2301.08243.

    ssljax pretrain --config experiments/vision/ijepa.py --config.data.path=DIR --workdir RUN

imagenet is the paper's ViT-B/16: predictor 384 by 6, 1e-3 a batch of 2,048, 40 of 300 epochs of
warm-up, momentum 0.996 to 1, weight decay 0.04 to 0.4.
Runs of few steps have a teacher that follows faster, as it would not move in them otherwise. cpu
has patches of 8 pixels: with a quarter of the patches it sees its images four times as often.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.masked import add_pretext, companion, set_patches
from experiments.vision.two_views import add_optimizer

# A grid of four by four has no block of the paper's range: two of 2 by 2 instead.
FOUR_BY_FOUR = dict(blocks=2, target_scale=(0.2, 0.3), context_ratio=0.25)


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit", epochs={"": 300, "cpu": 26, "cifar10": 300, "imagenet": 300},
            batch_size={"": 256, "cpu": 64, "imagenet": 2048})
    patches = set_patches(c, arg, cpu=8)
    blocks = FOUR_BY_FOUR if arg in ("cpu", "smoke") else {}
    add_pretext(c, arg, "multi_block", **patches, **blocks)
    predictor = dict(cpu=(64, 2, 4), smoke=(16, 1, 2), cifar10=(192, 6, 6), imagenet=(384, 6, 12))
    c.objective = dict(
        name="ijepa", momentum=0.99 if arg in ("cpu", "smoke") else 0.996,
        predictor=companion(c, "vit_predictor", *predictor.get(arg, (96, 4, 3))))
    add_optimizer(
        c, arg, lr=2e-3 if arg == "cpu" else 1e-3,
        cifar10=dict(name="adamw", lr=5e-4, weight_decay=0.05, warmup=0.1),
        imagenet=dict(name="adamw", lr=1.25e-4, weight_decay=0.04, final_weight_decay=0.4,
                      warmup=40 / 300))
    if arg == "imagenet":
        c.schedule.final_fraction = 1e-3
    return c
