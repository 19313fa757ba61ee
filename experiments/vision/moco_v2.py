r"""MoCo v2, https://arxiv.org/abs/2003.04297.

    ssljax pretrain --config experiments/vision/moco_v2.py --config.data.path=DIR --workdir RUN

imagenet is the paper's recipe of 200 epochs; cifar10 follows solo-learn's MoCo v2+ of 1,000 epochs
(https://jmlr.org/papers/v23/21-1155.html: linear 92.9): both views are queries, and the momentum
grows from .99 to .999.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.two_views import MOCO, add_optimizer, add_views, of


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="resnet", epochs={"": 200, "cpu": 30, "cifar10": 1000, "imagenet": 200},
            batch_size={"": 256})
    add_views(c, arg, MOCO)
    # A run of few steps needs a teacher that follows soon, and keys that are not too old.
    c.objective = dict(name="moco_v2", temperature=0.2, **of(
        arg, dict(queue_size=4096, momentum=0.99, hidden_dim=512, out_dim=128),
        cpu=dict(queue_size=2048, momentum=0.97),
        cifar10=dict(queue_size=32768, momentum=0.99, final_momentum=0.999, symmetric=True,
                     hidden_dim=2048, out_dim=256),
        imagenet=dict(queue_size=65536, momentum=0.999, hidden_dim=2048),
        smoke=dict(queue_size=128, momentum=0.9, hidden_dim=64, out_dim=32)))
    add_optimizer(
        c, arg,
        cifar10=dict(name="sgd", lr=0.3, weight_decay=1e-4, warmup=0.01),
        imagenet=dict(name="sgd", lr=0.03, weight_decay=1e-4))
    return c
