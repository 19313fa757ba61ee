r"""LeJEPA, https://arxiv.org/abs/2511.08544.

    ssljax pretrain --config experiments/vision/lejepa.py --config.data.path=DIR --workdir RUN

imagenet is the paper's two large and six small crops through a ViT-B/16 for 100 epochs. The paper
has no run of ResNet-18 on CIFAR-10: cifar10 takes its optimizer for residual networks.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.two_views import BYOL, add_optimizer, add_views, of

VIEWS = {**BYOL, "blur_probability": 0.5, "solarise_probability": 0.2}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit" if arg == "imagenet" else "resnet",
            epochs={"": 200, "cpu": 16, "cifar10": 300, "imagenet": 100},
            batch_size={"": 256, "imagenet": 512})
    add_views(c, arg, VIEWS, min_area=0.2)
    if arg == "imagenet":
        add_views(c, arg, {**VIEWS, "min_area": 0.3}, "multi_crop")
        c.pretext.update(local_size=96, local_crops=6, local_min_area=0.05, local_max_area=0.3)
    c.objective = dict(name="lejepa", sigreg_weight=0.05, **of(
        arg, dict(dims=(1024, 1024, 128), directions=1024),
        cpu=dict(dims=(512, 512, 64), directions=256),
        cifar10=dict(dims=(2048, 2048, 128)), imagenet=dict(dims=(2048, 2048, 512)),
        smoke=dict(dims=(64, 32), directions=64)))
    add_optimizer(
        c, arg,
        cifar10=dict(name="adamw", lr=5e-4, weight_decay=5e-4, warmup=0.05),
        # 5e-4 at any batch: the division undoes the scale.
        imagenet=dict(name="adamw", lr=5e-4 * 256 / c.batch_size, weight_decay=0.05, warmup=0.05))
    if arg in ("cifar10", "imagenet"):
        c.schedule.final_fraction = 1e-3
    return c
