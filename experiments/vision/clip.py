r"""CLIP, https://arxiv.org/abs/2103.00020.

    ssljax pretrain --config experiments/vision/clip.py --config.data.path=DIR --workdir RUN
    ssljax pretrain --config experiments/vision/clip.py:cifar10 --config.data.path=DIR ...

What DIR holds is in experiments/vision/captions.py. imagenet is the paper's optimizer (table 18) at
a batch that one machine can hold; the paper's own is 32,768.
"""

import ml_collections

from experiments.vision.base import run
from experiments.vision.captions import add_captions
from experiments.vision.two_views import add_optimizer


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit", epochs={"": 100, "cpu": 12, "cifar10": 100, "imagenet": 32},
            batch_size={"": 256, "imagenet": 4096})
    text = add_captions(c, arg, causal=True)
    c.objective = dict(name="clip", text_model=text, temperature=0.07,
                       out_dim={"smoke": 32, "cpu": 64, "imagenet": 512}.get(arg, 256))
    paper = dict(name="adamw", lr=5e-4 / 16, b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.2,
                 warmup=0.02)
    add_optimizer(c, arg, lr=1e-3, imagenet=paper)
    return c
