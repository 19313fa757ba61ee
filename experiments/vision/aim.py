r"""AIM, autoregressive prediction of patches, https://arxiv.org/abs/2401.08541.

    ssljax pretrain --config experiments/vision/aim.py --config.data.path=DIR --workdir RUN

imagenet has the paper's head (12 blocks, 2,048 wide) on a ViT-B and MAE's optimizer; the paper
trains from 0.6 billion weights on, on two billion images.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.masked import add_pretext, add_reconstruction, set_patches
from experiments.vision.two_views import add_optimizer


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit", epochs={"": 300, "cpu": 18, "cifar10": 800, "imagenet": 300},
            batch_size={"": 256, "cpu": 64, "imagenet": 4096})
    patches = set_patches(c, arg, cpu=8)
    c.model.causal = True                       # else it would read its own answers
    add_pretext(c, arg, "crop", size=patches["size"], channels=patches["channels"], min_area=0.4)
    depth, width = dict(cpu=(2, 96), smoke=(1, 16), imagenet=(12, 2048)).get(arg, (4, 384))
    c.objective = dict(name="aim", patch_size=patches["patch_size"], head_depth=depth,
                       head_width=width)
    add_optimizer(
        c, arg, lr=2e-3 if arg == "cpu" else 1e-3,
        cifar10=dict(name="adamw", lr=2e-4, b2=0.95, weight_decay=0.05, warmup=0.05),
        imagenet=dict(name="adamw", lr=1.5e-4, b2=0.95, weight_decay=0.05, warmup=0.05))
    add_reconstruction(c, images=100)           # every patch has read other ones: slow to fill in
    return c
