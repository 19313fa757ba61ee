r"""Masked autoencoder, https://arxiv.org/abs/2111.06377.

    ssljax pretrain --config experiments/vision/mae.py --config.data.path=DIR --workdir RUN
    ssljax pretrain --config experiments/vision/mae.py:cifar10 --config.data.path=DIR ...

imagenet is the paper's ViT-B (appendix A.1) without its class token, which no loss reads: features
are the mean of the patches, as in its fine-tuning. cifar10 is solo-learn's (configs/cifar/mae.yaml:
ViT-S/4, decoder 512 by 8, 2e-4 a batch of 256, crops from 8 %). All predict patches that are
standardised each, but for the digits of smoke, of which many are blank. The patches of cpu, of 8
pixels, are a quarter as many, so that it sees its images four times as often.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.masked import add_pretext, add_reconstruction, companion, set_patches
from experiments.vision.two_views import add_optimizer


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit", epochs={"": 400, "cpu": 44, "cifar10": 1000, "imagenet": 800},
            batch_size={"": 256, "cpu": 128, "imagenet": 4096})
    patches = set_patches(c, arg, cpu=8)
    add_pretext(c, arg, "masked_patches", **patches, ratio=0.75,
                min_area={"cifar10": 0.08, "cpu": 0.5}.get(arg, 0.2))
    decoder = dict(cpu=(64, 2, 4), smoke=(16, 1, 2), cifar10=(512, 8, 16), imagenet=(512, 8, 16))
    decoder = companion(c, "vit_decoder", *decoder.get(arg, (192, 4, 6)))
    c.objective = dict(
        name="mae", patch_size=patches["patch_size"], ratio=c.pretext.get_oneway_ref("ratio"),
        targets="pixels" if arg == "smoke" else "normalised_pixels",
        decoder=dict(decoder, channels=patches["channels"]))
    add_optimizer(
        c, arg, lr=3e-3 if arg == "cpu" else 1e-3,
        cifar10=dict(name="adamw", lr=2e-4, b2=0.95, weight_decay=0.05, warmup=0.01),
        imagenet=dict(name="adamw", lr=1.5e-4, b2=0.95, weight_decay=0.05, warmup=0.05))
    add_reconstruction(c)
    return c
