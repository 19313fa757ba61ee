r"""iBOT, https://arxiv.org/abs/2111.07832.

    ssljax pretrain --config experiments/vision/ibot.py --config.data.path=DIR --workdir RUN

imagenet is the authors' ViT-S/16 of 800 epochs: a shared head of 8,192 prototypes, half of the
large crops with .1 to .5 of their patches hidden, ten local crops. The length of prototypes stays 1
(`norm_last_layer`), which theirs learn. cifar10 has no published recipe: ViT-S/4.
"""

import ml_collections

from experiments.vision import crops
from experiments.vision.base import PATCHES, run


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    epochs = {"": 200, "cpu": 5, "cifar10": 500, "imagenet": 800}
    c = run(arg, network="vit", epochs=epochs, batch_size={"": 256, "cpu": 128, "imagenet": 1024})
    c.model.update(pool="class_mean")
    crops.add_crops(c, arg, patch_size=PATCHES[arg])
    crops.add_optimizer(c, arg, warmup=10 / 800 if arg == "imagenet" else 0.1)
    c.objective = dict(name="ibot", momentum=crops.momentum(c), **crops.heads(arg, 8192))
    if arg == "imagenet":
        c.model.update(variant="S/16", pool="class", drop_path=0.1)
        c.pretext.update(local_crops=10, min_area=0.25, local_max_area=0.25)
        c.objective.update(momentum=0.996, teacher_warmup=30 / 800, hold=1 / 800)
    if arg == "cpu":
        crops.shrink(c)
    return c
