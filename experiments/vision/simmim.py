r"""SimMIM, https://arxiv.org/abs/2111.09886.

    ssljax pretrain --config experiments/vision/simmim.py --config.data.path=DIR --workdir RUN

imagenet is the released ViT-B recipe (60 % in blocks of 32 pixels, crops from 67 %, 1e-4 a batch of
512) with half a cosine in place of its single drop at 700 of 800 epochs. There is no published
CIFAR-10 table: cifar10 is the same method at the scale of those of MAE.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.masked import add_pretext, add_reconstruction, set_patches
from experiments.vision.two_views import add_optimizer


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit", epochs={"": 300, "cpu": 20, "cifar10": 800, "imagenet": 800},
            batch_size={"": 256, "cpu": 64, "imagenet": 2048})
    patches = set_patches(c, arg, cpu=8)
    # Two patches of 16 pixels are the paper's 32; of 4 pixels they are 8, a quarter of an image.
    add_pretext(c, arg, "masked_patches", **patches, ratio=0.5 if arg == "smoke" else 0.6,
                min_area=0.67, block=1 if arg in ("cpu", "smoke") else 2)
    c.objective = dict(name="simmim", patch_size=patches["patch_size"])
    add_optimizer(
        c, arg, lr=2e-3 if arg == "cpu" else 1e-3,
        cifar10=dict(name="adamw", lr=2e-4, b2=0.95, weight_decay=0.05, warmup=0.05),
        imagenet=dict(name="adamw", lr=5e-5, weight_decay=0.05, warmup=0.0125))
    add_reconstruction(c)
    return c
