r"""Autoregressive pixels, "Generative pretraining from pixels" (image GPT).

https://cdn.openai.com/papers/Generative_Pretraining_from_Pixels_V2.pdf

    ssljax pretrain --config experiments/vision/image_gpt.py --config.data.path=DIR --workdir RUN
    ssljax generate RUN --n 16 --out grid.png

imagenet is iGPT-S (76 M parameters: 24 blocks of 512) on images of 32 pixels in 512 colours, Adam
with lr 0.003 and batch 128 as in the paper's appendix; its learning rate does not grow with the
batch. A palette fitted to the data is closer to it: see tools/fit_palette.py and set
--config.pretext.palette and --config.model.palette. Small images are cut down to `data.size`: a
sequence has size**2 tokens.
"""

import ml_collections

from experiments.vision.base import add_held_out, run
from experiments.vision.two_views import add_optimizer, of

NETWORKS = {"": dict(width=256, depth=8, num_heads=8), "cpu": dict(width=96, depth=4, num_heads=4),
            "cifar10": dict(width=512, depth=12, num_heads=8),
            "imagenet": dict(width=512, depth=24, num_heads=8),
            "smoke": dict(width=32, depth=2, num_heads=4)}
SIDES = {"": 32, "cpu": 16, "cifar10": 32, "imagenet": 32, "smoke": 8}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit", epochs={"": 50, "cpu": 1, "cifar10": 200, "imagenet": 100},
            batch_size={"": 64, "cpu": 16, "cifar10": 128, "imagenet": 128})
    c.data.size = SIDES[arg]
    pixels, channels = (c.data.get_oneway_ref(n) for n in ("size", "channels"))
    levels = 16 if arg == "smoke" else 8             # 16 greys, or 512 colours
    c.pretext = dict(name="pixel_tokens", size=pixels, channels=channels, levels=levels, palette="",
                     flip_probability=0.0 if arg == "smoke" else 0.5)
    c.model = dict(name="pixel_gpt", image_size=pixels, channels=channels, levels=levels,
                   palette="", **NETWORKS[arg])
    c.objective = dict(name="image_gpt", colours=levels**c.data.channels)
    add_optimizer(c, arg, lr=of(arg, dict(lr=1e-3), cpu=dict(lr=2e-3))["lr"],
                  imagenet=dict(name="adamw", lr=0.006, b2=0.95, weight_decay=0.0, warmup=0.01))
    add_held_out(c, arg)
    return c
