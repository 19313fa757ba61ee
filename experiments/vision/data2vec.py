r"""data2vec 2 of images, https://arxiv.org/abs/2212.07525.

    ssljax pretrain --config experiments/vision/data2vec.py --config.data.path=DIR --workdir RUN

imagenet is ViT-B/16 with 16 masks of every image and the mean of the last ten blocks as targets,
with the optimizer and the teacher's momentum of fairseq's v2/base_images_only_task.yaml. cifar10
has no published recipe: ViT-S/4, and a teacher that follows faster.
"""

import ml_collections

from experiments.vision.base import host_crop, run
from experiments.vision.masked import set_patches
from experiments.vision.two_views import add_optimizer

# Masks of an image, width and layers of the decoder, blocks that make targets.
SIZES = {"": (4, 192, 4, 8), "cpu": (2, 128, 2, 3), "cifar10": (8, 384, 4, 8),
         "imagenet": (16, 768, 6, 10), "smoke": (2, 32, 2, 2)}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit", epochs={"": 200, "cpu": 16, "cifar10": 500, "imagenet": 100},
            batch_size={"": 256, "cpu": 64, "imagenet": 512})
    masks, width, depth, blocks = SIZES[arg]
    patches = set_patches(c, arg, cpu=8)
    # A visible block of three by three patches, as in the paper, where as many are visible.
    ratio, block = (0.5, 1) if arg == "smoke" else (0.8, 3 if arg == "imagenet" else 2)
    c.pretext = dict(name="masked_patches", **patches, kind="inverse_block", block=block,
                     ratio=ratio, masks=masks, **host_crop(arg),
                     flip_probability=0.0 if arg == "smoke" else 0.5)
    c.model.update(collect=blocks, class_token=True)
    groups = 1 if arg == "cpu" else 16           # gradients of grouped ones take ten times as long
    decoder = dict(name="conv_decoder", width=width, depth=depth, groups=groups,
                   patch_size=patches["patch_size"], image_size=patches["size"])
    c.objective = dict(name="data2vec", decoder=decoder, ratio=ratio, class_weight=0.01)
    if arg != "imagenet":
        # A teacher as slow as the paper's would still be the random one in a short run.
        c.objective.update(momentum=1 - min(0.01, max(0.001, 4 / c.total_steps)),
                           final_momentum=0.9999, momentum_steps=0.3)
    add_optimizer(c, arg, lr=2e-3 if arg == "cpu" else 1e-3, warmup=0.1, imagenet=dict(
        name="adamw", lr=5e-4, b2=0.95, weight_decay=0.05, warmup=0.133, clip_norm=4.0))
    return c
