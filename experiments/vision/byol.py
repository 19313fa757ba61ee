r"""BYOL, https://arxiv.org/abs/2006.07733.

    ssljax pretrain --config experiments/vision/byol.py --config.data.path=DIR --workdir RUN

imagenet is the authors' preset of 300 epochs; cifar10 follows solo-learn
(https://jmlr.org/papers/v23/21-1155.html: ResNet-18, 1,000 epochs, linear 92.6).
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.two_views import BYOL, add_optimizer, add_views, of


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="resnet", epochs={"": 200, "cpu": 20, "cifar10": 1000, "imagenet": 300},
            batch_size={"": 256, "imagenet": 4096})
    add_views(c, arg, BYOL)
    c.objective = dict(name="byol", **of(
        arg, dict(momentum=0.99, hidden_dim=1024, out_dim=256),
        cpu=dict(momentum=0.9, hidden_dim=512, out_dim=128),
        cifar10=dict(hidden_dim=4096), imagenet=dict(hidden_dim=4096),
        smoke=dict(momentum=0.9, hidden_dim=64, out_dim=32)))
    add_optimizer(
        c, arg,
        cifar10=dict(name="lars", lr=1.0, weight_decay=1e-5, trust=0.02, clip=True, warmup=0.01),
        imagenet=dict(name="lars", lr=0.3, weight_decay=1e-6, warmup=10 / 300))
    if arg == "cpu":
        # By trial: k-NN and linear probe .386 and .433 after 14 epochs.
        c.optim.weight_decay = 0.01
    return c
