r"""SimSiam, https://arxiv.org/abs/2011.10566.

    ssljax pretrain --config experiments/vision/simsiam.py --config.data.path=DIR --workdir RUN

imagenet and cifar10 are the paper's (100 epochs; 800 epochs of ResNet-18, appendix D: linear 91.8),
but for the predictor's learning rate, which falls here with that of the other weights.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.two_views import MOCO, add_optimizer, add_views, of


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="resnet", epochs={"": 200, "cpu": 36, "cifar10": 800, "imagenet": 100},
            batch_size={"": 256, "cpu": 128, "cifar10": 512, "imagenet": 512})
    add_views(c, arg, MOCO)
    c.objective = dict(name="simsiam", **of(
        arg, dict(hidden_dims=(1024,), out_dim=1024, bottleneck_dim=256),
        cpu=dict(hidden_dims=(512,), out_dim=512, bottleneck_dim=128),
        cifar10=dict(hidden_dims=(2048,), out_dim=2048, bottleneck_dim=512),
        imagenet=dict(hidden_dims=(2048, 2048), out_dim=2048, bottleneck_dim=512),
        smoke=dict(hidden_dims=(64,), out_dim=64, bottleneck_dim=16)))
    add_optimizer(
        c, arg,
        cifar10=dict(name="sgd", lr=0.03, weight_decay=5e-4),
        imagenet=dict(name="sgd", lr=0.05, weight_decay=1e-4))
    if arg == "cpu":
        c.optim.weight_decay = 0.01
    return c
