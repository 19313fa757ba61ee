r"""SimCLR, https://arxiv.org/abs/2002.05709.

    ssljax pretrain --config experiments/vision/simclr.py --config.data.path=DIR --workdir RUN
    ssljax pretrain --config experiments/vision/simclr.py:cifar10 --config.data.path=DIR ...

cifar10 is the best documented recipe of one accelerator (github.com/dkobak/simclr-cifar10, 100
epochs: linear 85.6, k-NN 83.2); imagenet is the paper's, with its LARS and square-root-free scale.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.two_views import SIMCLR, add_optimizer, add_views, of


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="resnet", epochs={"": 200, "cpu": 20, "cifar10": 100, "imagenet": 100},
            batch_size={"": 256, "cifar10": 512, "imagenet": 4096})
    add_views(c, arg, SIMCLR, min_area=0.2, jitter=(0.4, 0.4, 0.4, 0.1), gray_probability=0.1)
    c.objective = dict(name="simclr", **of(
        arg, dict(temperature=0.2, hidden_dim=512, out_dim=128, norm="none"),
        cpu=dict(temperature=0.5),
        cifar10=dict(temperature=0.5, hidden_dim=1024),
        imagenet=dict(temperature=0.1, hidden_dim=2048, norm="batch"),
        smoke=dict(hidden_dim=64, out_dim=32)))
    add_optimizer(
        c, arg,
        cifar10=dict(name="sgd", lr=0.06, weight_decay=5e-4),
        imagenet=dict(name="lars", lr=0.3, weight_decay=1e-6, warmup=0.1))
    return c
