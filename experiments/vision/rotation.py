r"""Rotation prediction, https://arxiv.org/abs/1803.07728: the cheapest proof that training works.

    ssljax pretrain --config experiments/vision/rotation.py --config.data.path=DIR --workdir RUN

cifar10 is the authors' (momentum SGD, lr 0.1, 100 epochs of 128 images in four rotations; frozen
features with a convolutional head 91.2) with a cosine for their steps; imagenet is that of
https://arxiv.org/abs/1901.09005 (35 epochs). `held_out_accuracy` is of images it has not seen.
"""

import ml_collections

from experiments.vision.base import add_held_out, host_crop, run
from experiments.vision.two_views import add_optimizer


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="resnet", epochs={"": 100, "cpu": 8, "imagenet": 35},
            batch_size={"": 128, "imagenet": 256})
    pixels, channels = (c.data.get_oneway_ref(n) for n in ("size", "channels"))
    c.pretext = dict(name="rotations", size=pixels, channels=channels, **host_crop(arg),
                     min_area=0.2 if arg == "imagenet" else 0.6)
    c.objective = dict(name="rotation")
    add_optimizer(c, arg,
                  cifar10=dict(name="sgd", lr=0.2, weight_decay=5e-4),
                  imagenet=dict(name="sgd", lr=0.1, weight_decay=1e-4, warmup=5 / 35))
    add_held_out(c, arg)
    return c
