"""What runs of joint-embedding methods share: augmentations by paper, and optimizers by size.

Published learning rates are for 256 images a step and scale with the batch. Sizes without a
published recipe take AdamW, which needs no tuning from 1,000 to 100,000 images.
"""

import ml_collections

from experiments.vision.base import host_crop

SIMCLR = dict(min_area=0.08, jitter=1.0, gray_probability=0.2, blur_probability=0.5)
MOCO = dict(min_area=0.2, jitter=(0.4, 0.4, 0.4, 0.1), gray_probability=0.2, blur_probability=0.5)
BYOL = dict(min_area=0.08, jitter=(0.4, 0.4, 0.2, 0.1), gray_probability=0.2,
            blur_probability=(1.0, 0.1), solarise_probability=(0.0, 0.2), method="cubic")
# Small crops of small images show nothing, and there is nothing to blur in 32 pixels.
SMALL = {"": dict(min_area=0.2), "cpu": dict(min_area=0.2, blur_probability=0.0),
         "cifar10": dict(blur_probability=0.0),
         "smoke": dict(min_area=0.5, flip_probability=0.0, gray_probability=0.0,
                       blur_probability=0.0)}


def of(size: str, default: dict, **sizes: dict) -> dict:
    """Return `default` with the words that a size changes; "small" is the size ""."""
    return {**default, **sizes.get(size or "small", {})}


def add_views(c: ml_collections.ConfigDict, size: str, paper: dict, name: str = "two_views",
              **cifar10: object) -> None:
    """Set the pretext: a paper's augmentations, softened where images are small.

    Args:
        c: the run.
        size: its size.
        paper: SIMCLR, MOCO or BYOL.
        name: of the pretext.
        **cifar10: what published recipes of 32 pixels change.
    """
    # SimCLR halves the strength of colours where images are small (appendix B.9).
    softer = dict(jitter=0.5) if paper is SIMCLR and size not in ("cifar10", "imagenet") else {}
    words = {**paper, **SMALL.get(size, {}), **softer, **(cifar10 if size == "cifar10" else {})}
    pixels, channels = (c.data.get_oneway_ref(n) for n in ("size", "channels"))
    c.pretext = dict(name=name, size=pixels, channels=channels, **host_crop(size), **words)


def add_optimizer(c: ml_collections.ConfigDict, size: str, lr: float = 0.0, warmup: float = 0.05,
                  **published: dict) -> None:
    """Set optimizer and schedule: warm-up, then half a cosine.

    Args:
        c: the run.
        size: its size.
        lr: of AdamW, where nothing is published; 0 means 1e-3, and three times that for the small
            residual networks of CPUs, which have few steps.
        warmup: fraction of the steps.
        **published: size -> optimizer with lr for 256 images, and a warmup of its own.
    """
    few_steps = size == "cpu" and c.model.name == "resnet"
    lr = lr or (3e-3 if few_steps else 1e-3)
    rule = dict(name="adamw", lr=lr, weight_decay=0.05, clip_norm=1.0)
    if size in published:
        rule = dict(published[size])
        rule["lr"] *= c.batch_size / 256
        warmup = rule.pop("warmup", 0.0)
    c.optim = rule
    c.schedule = dict(name="cosine", warmup_steps=round(warmup * c.total_steps),
                      final_fraction=0.0)
