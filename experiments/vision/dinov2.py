r"""DINOv2, https://arxiv.org/abs/2304.07193.

    ssljax pretrain --config experiments/vision/dinov2.py --config.data.path=DIR --workdir RUN

imagenet is the authors' default of ViT-L/16 and 100 epochs, with four registers
(https://arxiv.org/abs/2309.16588). cifar10 has no published recipe: ViT-S/4. Small sizes name
prototypes by Sinkhorn, which cannot collapse to all alike at 256 images a step. Gram anchoring
(https://arxiv.org/abs/2508.10104) is for long runs whose patch features decay:
--config.objective.gram_weight=2 --config.objective.gram_start=0.8.
"""

import ml_collections

from experiments.vision import crops
from experiments.vision.base import PATCHES, run


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    epochs = {"": 200, "cpu": 5, "cifar10": 500, "imagenet": 100}
    c = run(arg, network="vit", epochs=epochs, batch_size={"": 256, "cpu": 128, "imagenet": 2048})
    c.model.update(pool="class_mean", registers=4)
    crops.add_crops(c, arg, patch_size=PATCHES[arg])
    crops.add_optimizer(c, arg)
    c.objective = dict(name="dinov2", momentum=crops.momentum(c), centring="sinkhorn",
                       **crops.heads(arg, 65_536))
    if arg == "imagenet":
        c.model.update(variant="L/16", drop_path=0.3, drop_path_uniform=True, layer_scale=1e-5)
        c.pretext.update(min_area=0.32, local_max_area=0.32)
        c.objective.update(momentum=0.992, centring="centre")
        # Lower blocks move slower by a tenth each, the projection of patches by four fifths more.
        c.optim.update(lr=0.004 * (c.batch_size / 1024)**0.5, layer_decay=0.9, groups=dict(
            stem=dict(match="encoder/[wb]_patch", lr_scale=0.2)))
    if arg == "cpu":
        crops.shrink(c)
    return c
