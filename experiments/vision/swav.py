r"""SwAV, https://arxiv.org/abs/2006.09882.

    ssljax pretrain --config experiments/vision/swav.py --config.data.path=DIR --workdir RUN

imagenet is the paper's with multi-crop, 800 epochs of batch 4,096; cifar10 follows solo-learn
(https://jmlr.org/papers/v23/21-1155.html: ResNet-18, 1,000 epochs, linear 89.2): two crops, a queue
from epoch 50 on, prototypes frozen for two epochs.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.two_views import SIMCLR, add_optimizer, add_views, of

EPOCHS = {"": 200, "cpu": 26, "cifar10": 1000, "imagenet": 800}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="resnet", epochs=EPOCHS, batch_size={"": 256, "imagenet": 4096})
    add_views(c, arg, SIMCLR)
    if arg == "imagenet":
        add_views(c, arg, {**SIMCLR, "min_area": 0.14}, "multi_crop")
        c.pretext.update(local_size=96, local_crops=6, local_min_area=0.05, local_max_area=0.14,
                         solarise_probability=0.0)
    epoch = c.total_steps // EPOCHS.get(arg, 10)
    c.objective = dict(name="swav", **of(
        arg, dict(prototypes=512, hidden_dim=1024, out_dim=128, queue_size=2048,
                  queue_from=15 * epoch, freeze_steps=epoch),
        cpu=dict(prototypes=128, hidden_dim=512, queue_size=0, queue_from=0),
        cifar10=dict(prototypes=3000, hidden_dim=2048, queue_size=3840, queue_from=50 * epoch,
                     freeze_steps=2 * epoch),
        imagenet=dict(prototypes=3000, hidden_dim=2048, queue_size=0, queue_from=0),
        smoke=dict(prototypes=32, hidden_dim=64, out_dim=32, queue_size=128, queue_from=4)))
    add_optimizer(
        c, arg,
        cifar10=dict(name="lars", lr=0.6, weight_decay=1e-6, trust=0.02, clip=True, warmup=0.01),
        imagenet=dict(name="lars", lr=0.3, weight_decay=1e-6, warmup=10 / 800))
    return c
