r"""SigLIP, https://arxiv.org/abs/2303.15343.

    ssljax pretrain --config experiments/vision/siglip.py --config.data.path=DIR --workdir RUN
    ssljax pretrain --config experiments/vision/siglip.py:cifar10 --config.data.path=DIR ...

What DIR holds is in experiments/vision/captions.py. imagenet is the paper's optimizer at a batch
that one machine can hold; the paper's best is 32,768.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.captions import add_captions
from experiments.vision.two_views import add_optimizer


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit", epochs={"": 100, "cpu": 12, "cifar10": 100, "imagenet": 32},
            batch_size={"": 256, "imagenet": 4096})
    text = add_captions(c, arg, causal=False)
    c.objective = dict(name="siglip", text_model=text, scale=10.0, bias=-10.0,
                       out_dim={"smoke": 32, "cpu": 64, "imagenet": 768}.get(arg, 256))
    paper = dict(name="adamw", lr=1e-3 / 16, b1=0.9, b2=0.95, weight_decay=1e-4, warmup=0.02)
    add_optimizer(c, arg, lr=1e-3, imagenet=paper)
    return c
