r"""MaskFeat with HOG targets, https://arxiv.org/abs/2112.09133.

    ssljax pretrain --config experiments/vision/maskfeat.py --config.data.path=DIR --workdir RUN

imagenet has the paper's targets and masks (9 orientations in cells of 8 pixels, 40 % in blocks) and
MAE's optimizer. Where patches are smaller than a cell, a patch is a cell.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.masked import add_pretext, add_reconstruction, set_patches
from experiments.vision.two_views import add_optimizer


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit", epochs={"": 300, "cpu": 22, "cifar10": 800, "imagenet": 300},
            batch_size={"": 256, "cpu": 64, "imagenet": 2048})
    patches = set_patches(c, arg, cpu=8)
    add_pretext(c, arg, "masked_patches", **patches, ratio=0.4, kind="block", min_area=0.5)
    c.objective = dict(name="maskfeat", patch_size=patches["patch_size"],
                       cell_size={"smoke": 2, "cpu": 4, "cifar10": 4}.get(arg, 8))
    add_optimizer(
        c, arg, lr=2e-3 if arg == "cpu" else 1e-3,
        cifar10=dict(name="adamw", lr=2e-4, b2=0.95, weight_decay=0.05, warmup=0.05),
        imagenet=dict(name="adamw", lr=1.5e-4, b2=0.95, weight_decay=0.05, warmup=0.1))
    add_reconstruction(c)
    return c
