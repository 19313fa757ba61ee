r"""Relative patch location, https://arxiv.org/abs/1505.05192.

    ssljax pretrain --config experiments/vision/relative_location.py --config.data.path=DIR \
        --workdir RUN

imagenet is the recipe of https://arxiv.org/abs/1901.09005: images of 292 pixels, a crop of 255, the
centre and one neighbour of 64, SGD for 35 epochs. Small images give all eight neighbours at once:
the network sees every tile of an image once.
"""

import ml_collections

from experiments.vision.base import add_held_out, run
from experiments.vision.two_views import add_optimizer, of

GRID = dict(grid_size=36, tile_size=8)


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="resnet", epochs={"": 200, "cpu": 50, "imagenet": 35},
            batch_size={"": 128, "imagenet": 256})
    pixels, channels = (c.data.get_oneway_ref(n) for n in ("size", "channels"))
    c.pretext = dict(name="patch_pairs", size=pixels, channels=channels, **of(
        arg, {**GRID, "neighbours": 8}, small=dict(grid_size=72, tile_size=16),
        imagenet=dict(source_size=292, grid_size=255, tile_size=64, neighbours=1),
        smoke=dict(grid_size=15, tile_size=4)))
    c.objective = dict(name="relative_location", **of(arg, dict(hidden_dim=1024),
                                                      smoke=dict(hidden_dim=32)))
    add_optimizer(c, arg,
                  imagenet=dict(name="sgd", lr=0.1, weight_decay=1e-4, warmup=5 / 35))
    add_held_out(c, arg)
    return c
