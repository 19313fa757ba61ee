r"""MoCo v3, https://arxiv.org/abs/2104.02057.

    ssljax pretrain --config experiments/vision/moco_v3.py --config.data.path=DIR --workdir RUN

imagenet is the paper's ViT-B/16 of 300 epochs with its frozen random patch projection, and the mean
of the patches where the paper has a class token; cifar10 follows solo-learn
(https://jmlr.org/papers/v23/21-1155.html: ResNet-18, 1,000 epochs, linear 93.1).
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.two_views import BYOL, add_optimizer, add_views, of


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit" if arg == "imagenet" else "resnet",
            epochs={"": 200, "cpu": 16, "cifar10": 1000, "imagenet": 300},
            batch_size={"": 256, "imagenet": 4096})
    add_views(c, arg, BYOL)
    c.objective = dict(name="moco_v3", temperature=0.2, **of(
        arg, dict(momentum=0.99, dims=(1024, 256), predictor_dim=1024),
        cpu=dict(momentum=0.97, dims=(512, 128), predictor_dim=512),
        cifar10=dict(dims=(4096, 256), predictor_dim=4096),
        imagenet=dict(dims=(4096, 4096, 256), predictor_dim=4096),
        smoke=dict(momentum=0.9, dims=(64, 32), predictor_dim=64)))
    add_optimizer(
        c, arg,
        cifar10=dict(name="lars", lr=0.3, weight_decay=1e-6, trust=0.02, clip=True, warmup=0.01),
        imagenet=dict(name="adamw", lr=1.5e-4, weight_decay=0.1, warmup=40 / 300, groups=dict(
            stem=dict(match="encoder/[wb]_patch", freeze=True))))
    return c
