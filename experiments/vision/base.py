r"""What the runs of every vision method share: data, network, judgements and length by size.

`get_config(arg)` of a method's file starts from `run(arg, ...)` and adds its pretext, objective
and optimizer. The sizes are

    ""        small data: a folder, zip or tar of 1,000 to 100,000 images of any shape, at 64
              pixels and batch 256: --config.data.path=DIR, and nothing else needs to be told
    cpu       the same at 32 pixels and with a small network: minutes on two CPU cores; it also
              judges features, with --config.data.test_path=DIR (one folder a class)
    cifar10   the published tables of small benchmarks: 32 pixels, --config.data.path and
              test_path of CIFAR-10; it judges features too
    imagenet  the paper's own scale, 224 pixels
    smoke     ten steps on scikit-learn's bundled digits: does it run at all
"""

from typing import Literal

import ml_collections

Network = Literal["resnet", "vit"]
SIZES = ("", "cpu", "cifar10", "imagenet", "smoke")
PIXELS = {"": 64, "cpu": 32, "cifar10": 32, "imagenet": 224, "smoke": 8}
PATCHES = {"": 8, "cpu": 4, "cifar10": 4, "imagenet": 16, "smoke": 4}
# Blocks that start as the identity take longer to open than a run of minutes has: SimCLR's linear
# probe after six epochs on a CPU is .37 with them and .40 without.
RESNETS = {"": dict(variant="18", stem="small"),
           "cpu": dict(depths=(1, 1, 1), widths=(32, 64, 128), stem="patch", zero_scale=False),
           "cifar10": dict(variant="18", stem="small"), "imagenet": dict(variant="50"),
           "smoke": dict(depths=(1, 1), widths=(8, 16), stem="small")}
VITS = {"": dict(width=192, depth=12, num_heads=3), "cpu": dict(width=128, depth=4, num_heads=4),
        "cifar10": dict(variant="S/4"), "imagenet": dict(variant="B/16"),
        "smoke": dict(width=32, depth=2, num_heads=2)}
IMAGES = {"": 10_000, "cpu": 10_000, "cifar10": 50_000, "imagenet": 1_281_167, "smoke": 1_000}


def host_crop(size: str) -> dict[str, str]:
    """Return the word of a pretext that crops files of any shape while they are decoded."""
    return {"host_crop": "random"} if size in ("", "imagenet") else {}


def steps(images: int, epochs: float, batch_size: int) -> int:
    """Return how many steps pass over `images` so many times."""
    return max(1, round(images * epochs / batch_size))


def run(size: str, *, network: Network, epochs: dict[str, float], batch_size: dict[str, int],
        ) -> ml_collections.ConfigDict:
    """Return a run without pretext, objective, optimizer and schedule.

    Args:
        size: one of SIZES, what stands after the colon of --config.
        network: a residual network, or a vision transformer that pools the mean of its patches.
        epochs: passes over the data by size; sizes that are left out take those of "".
        batch_size: images a step by size, likewise.
    """
    if size not in SIZES:
        raise ValueError(f'no size "{size}"; expected one of {", ".join(map(repr, SIZES))}')
    c = ml_collections.ConfigDict()
    c.seed = 0
    c.mesh = dict(data=-1)
    c.batch_size = 32 if size == "smoke" else batch_size.get(size, batch_size[""])
    passes = epochs.get(size, epochs[""])
    c.total_steps = 10 if size == "smoke" else steps(IMAGES[size], passes, c.batch_size)
    c.compute_dtype = "float32" if size in ("cpu", "smoke") else "bfloat16"
    c.accumulate = 1

    # A folder, zip or tar of images; sub-folders are classes where judgements ask for labels.
    c.data = dict(path="", test_path="", size=PIXELS[size], channels=1 if size == "smoke" else 3,
                  limit=0)
    path, limit, pixels, channels = (c.data.get_oneway_ref(n)
                                     for n in ("path", "limit", "size", "channels"))
    c.source = (dict(name="digits", split="train") if size == "smoke" else
                dict(name="images", path=path, limit=limit))
    c.model = dict(name=network, channels=channels, **(RESNETS if network == "resnet" else VITS)[
        size])
    if network == "vit":
        c.model.update(image_size=pixels, patch_size=PATCHES[size])
    c.evals = judgements(c, size)
    c.log_steps, c.checkpoint_steps, c.keep_checkpoints = 10, 1000, 2
    return c


def judgements(c: ml_collections.ConfigDict, size: str) -> dict:
    """Return the judgements of a run: of labels where a size has them, of health always.

    Health costs its images a forward pass now and then: under 2 % of the steps between, which are
    short where a transformer encodes a part of the patches of 64 images. Probes hold all images in
    memory, which those of ImageNet do not fit.
    """
    train = dict(c.source.items(preserve_field_references=True))
    if size == "smoke":
        test = dict(name="digits", split="test")
    else:
        test = dict(name="images", path=c.data.get_oneway_ref("test_path"))
    probed = dict(train_source=train, test_source=test, labels_per_class=0)
    labels = dict(knn=dict(name="knn", **probed), linear=dict(name="linear", **probed))
    few_steps = 200 if c.model.name == "resnet" else 800
    probes, every = {"cpu": (512, few_steps), "smoke": (64, 5)}.get(size, (1024, 1000))
    health = dict(name="health", source=train, images=probes, groups=probes // 4,
                  views_per_image=4, every=every)
    return dict(health=health, **labels if size not in ("", "imagenet") else {})


def add_held_out(c: ml_collections.ConfigDict, size: str) -> None:
    """Judge the method's own task on test images too, where a size has them."""
    if "linear" in c.evals:
        test = dict(c.evals.linear.test_source.items(preserve_field_references=True))
        c.evals.held_out = dict(name="held_out", source=test,
                                batch_size=32 if size == "smoke" else 128)
