r"""Barlow Twins, https://arxiv.org/abs/2103.03230.

    ssljax pretrain --config experiments/vision/barlow_twins.py --config.data.path=DIR --workdir RUN

imagenet is the paper's recipe of 1,000 epochs, with its own learning rate for biases and norms;
cifar10 follows solo-learn (https://jmlr.org/papers/v23/21-1155.html: ResNet-18, 1,000 epochs,
linear 92.1).
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.two_views import BYOL, add_optimizer, add_views, of


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="resnet", epochs={"": 200, "cpu": 20, "cifar10": 1000, "imagenet": 1000},
            batch_size={"": 256, "imagenet": 2048})
    add_views(c, arg, BYOL)
    # A correlation of as many coordinates as rows has little noise; more need larger batches.
    c.objective = dict(name="barlow_twins", off_diagonal=0.0051, **of(
        arg, dict(dims=(1024, 1024, 1024)), cpu=dict(dims=(512, 512, 512)),
        cifar10=dict(dims=(2048, 2048, 2048), scale=0.1), imagenet=dict(dims=(8192, 8192, 8192)),
        smoke=dict(dims=(64, 32))))
    add_optimizer(
        c, arg,
        cifar10=dict(name="lars", lr=0.3, weight_decay=1e-4, trust=0.02, clip=True, warmup=0.01),
        imagenet=dict(name="lars", lr=0.2, weight_decay=1.5e-6, warmup=0.01, groups=dict(
            vectors=dict(match=r".*/(bias|scale)", lr_scale=0.0048 / 0.2))))
    return c
