r"""DINO, https://arxiv.org/abs/2104.14294.

    ssljax pretrain --config experiments/vision/dino.py --config.data.path=DIR --workdir RUN

imagenet is the authors' ViT-S/16 of 100 epochs with ten crops; cifar10 follows solo-learn
(https://jmlr.org/papers/v23/21-1155.html: ResNet-18, two crops, 1,000 epochs, linear 89.5).
"""

import ml_collections

from experiments.vision import crops
from experiments.vision.base import run
from experiments.vision.two_views import add_optimizer

EPOCHS = {"": 200, "cpu": 18, "cifar10": 1000, "imagenet": 100}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="resnet" if arg in ("cpu", "cifar10") else "vit", epochs=EPOCHS,
            batch_size={"": 256, "cpu": 128, "imagenet": 1024})
    crops.add_crops(c, arg)
    crops.add_optimizer(c, arg)
    c.objective = dict(name="dino", momentum=crops.momentum(c), hold=0.01,
                       **crops.heads(arg, 65_536))
    if arg == "imagenet":
        c.model.update(variant="S/16", pool="class", drop_path=0.1)
        c.objective.update(momentum=0.996)
    if arg == "cifar10":
        c.pretext.update(min_area=0.08)
        c.objective.update(momentum=0.9995, hold=1 / 1000, teacher_warmup=50 / 1000)
        add_optimizer(c, arg, cifar10=dict(name="lars", lr=0.3, weight_decay=1e-6, trust=0.02,
                                           clip=True, warmup=0.01))
    if arg == "cpu":
        c.objective.update(crops.FEW_STEPS)
    return c
