"""What runs of self-distillation share: crops, optimizer and the teacher's momentum by size.

The recipe of DINO, https://arxiv.org/abs/2104.14294 (appendix C), which iBOT and DINOv2 keep:
AdamW with weight decay from .04 to .4, learning rates for 256 images a step, ten epochs of warm-up.
"""

import ml_collections

from experiments.vision.base import host_crop

# Side in pixels and number of local crops. Whole patches; 16 of 32 pixels cost a quarter each.
LOCAL = {"": (32, 6), "cpu": (16, 4), "cifar10": (16, 0), "imagenet": (96, 8), "smoke": (4, 2)}

# A few hundred steps: Sinkhorn's assignments (DINO's table 7 has them too) say something from the
# first on, and let the teacher follow fast without a collapse.
FEW_STEPS = dict(centring="sinkhorn", momentum=0.9, teacher_temperature=0.04)


def add_crops(c: ml_collections.ConfigDict, size: str, **words: object) -> None:
    """Set the pretext: DINO's crops; small images are neither blurred nor cut into small pieces."""
    pixels, channels = (c.data.get_oneway_ref(n) for n in ("size", "channels"))
    side, count = LOCAL[size]
    c.pretext = dict(name="multi_crop", size=pixels, channels=channels, local_size=side,
                     local_crops=count, **host_crop(size), **words)
    if size == "imagenet":
        return
    c.pretext.update(local_min_area=0.1)
    if size:
        c.pretext.update(blur_probability=0.0)
    if size == "smoke":
        c.pretext.update(flip_probability=0.0, gray_probability=0.0, solarise_probability=0.0)


def add_optimizer(c: ml_collections.ConfigDict, size: str, lr: float = 5e-4,
                  warmup: float = 0.1) -> None:
    """Set AdamW with rising weight decay, warm-up, and half a cosine; lr is for 256 images.

    The few steps of a CPU have one of their own, and weight decay that stays where it starts.
    """
    lr = {"cpu": 3e-3, "smoke": 1e-3}.get(size, lr * c.batch_size / 256)
    c.optim = dict(name="adamw", lr=lr, weight_decay=0.04,
                   final_weight_decay=0.04 if size == "cpu" else 0.4, clip_norm=3.0)
    c.schedule = dict(name="cosine", warmup_steps=round(warmup * c.total_steps),
                      final_fraction=min(1.0, 1e-6 / lr))


def momentum(c: ml_collections.ConfigDict) -> float:
    """Return the teacher's momentum at the start of a run of small batches.

    A teacher that averages a fixed part of the run, here a quarter, is far behind in short runs of
    .996 and hardly behind in long ones: .99 for a few hundred steps, .9995 from 8,000 on, which
    users of batches of 256 found (and the authors advise).
    """
    return 1 - min(0.01, max(0.0005, 4 / c.total_steps))


def heads(size: str, prototypes: int) -> dict:
    """Return the sizes of a head: the paper's three layers, narrower for small networks."""
    return {"": dict(out_dim=4096, hidden_dim=1024, bottleneck_dim=256),
            "cpu": dict(out_dim=512, hidden_dim=256, bottleneck_dim=64),
            "smoke": dict(out_dim=64, hidden_dim=64, bottleneck_dim=32),
            "cifar10": dict(out_dim=4096, hidden_dim=2048, bottleneck_dim=256),
            "imagenet": dict(out_dim=prototypes, hidden_dim=2048, bottleneck_dim=256)}[size]


def shrink(c: ml_collections.ConfigDict) -> None:
    """Make a transformer that names patches fit into eight minutes of two CPU cores.

    Patches of 8 pixels are a quarter as many; Sinkhorn and a fast teacher are those of dino.py.
    """
    c.model.patch_size = c.pretext.patch_size = 8
    c.pretext.update(local_crops=2)
    c.optim.lr = 2e-3
    c.objective.update(FEW_STEPS)
