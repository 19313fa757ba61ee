r"""Jigsaw puzzles, https://arxiv.org/abs/1603.09246.

    ssljax pretrain --config experiments/vision/jigsaw.py --config.data.path=DIR --workdir RUN

imagenet is the recipe of https://arxiv.org/abs/1901.09005: images of 292 pixels, a crop of 255,
nine tiles of 64, 100 permutations of which 16 are asked for of every image, SGD for 35 epochs.
"""

import ml_collections

from experiments.vision.base import add_held_out, run
from experiments.vision.two_views import add_optimizer, of


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="resnet", epochs={"": 200, "cpu": 29, "imagenet": 35},
            batch_size={"": 128, "imagenet": 256})
    pixels, channels = (c.data.get_oneway_ref(n) for n in ("size", "channels"))
    c.pretext = dict(name="jigsaw", size=pixels, channels=channels, **of(
        arg, dict(grid_size=36, tile_size=8, permutations=100, shuffles=8),
        small=dict(grid_size=72, tile_size=16),
        imagenet=dict(source_size=292, grid_size=255, tile_size=64, shuffles=16),
        smoke=dict(grid_size=15, tile_size=4, permutations=8, shuffles=4)))
    count = c.pretext.get_oneway_ref("permutations")
    c.objective = dict(name="jigsaw", permutations=count, **of(
        arg, dict(hidden_dim=1024), imagenet=dict(hidden_dim=4096), smoke=dict(hidden_dim=32)))
    add_optimizer(c, arg,
                  imagenet=dict(name="sgd", lr=0.1, weight_decay=1e-4, warmup=5 / 35))
    add_held_out(c, arg)
    return c
