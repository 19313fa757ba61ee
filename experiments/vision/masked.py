"""What runs of masked prediction share: patches by size, one crop, and the judgement of pixels."""

import ml_collections

from experiments.vision.base import PATCHES, host_crop

# Eight by eight digits need patches of two pixels for anything to be left visible.
SMOKE_PATCH = 2


def set_patches(c: ml_collections.ConfigDict, size: str, *, cpu: int = PATCHES["cpu"]) -> dict:
    """Return the words that pretext and networks share: size, channels, patch_size.

    Args:
        c: the run, whose network gets these patches.
        size: its size.
        cpu: side of a patch of the size cpu, in pixels.
    """
    c.model.patch_size = {"smoke": SMOKE_PATCH, "cpu": cpu}.get(size, PATCHES[size])
    pixels, channels = (c.data.get_oneway_ref(n) for n in ("size", "channels"))
    return dict(size=pixels, channels=channels, patch_size=c.model.get_oneway_ref("patch_size"))


def add_pretext(c: ml_collections.ConfigDict, arg: str, name: str, /, **words: object) -> None:
    """Set the pretext: one crop of the image, taken from all pixels of the file where it is large.

    Args:
        c: the run.
        arg: its size.
        name: of the pretext.
        **words: its masks and augmentations.
    """
    if arg == "smoke":
        words["flip_probability"] = 0.0                     # a mirrored digit is no digit
    c.pretext = dict(name=name, **host_crop(arg), **words)


def companion(c: ml_collections.ConfigDict, name: str, width: int, depth: int, num_heads: int,
              ) -> dict:
    """Return the spec of a decoder or predictor for the run's images."""
    return dict(name=name, image_size=c.model.get_oneway_ref("image_size"),
                patch_size=c.model.get_oneway_ref("patch_size"), width=width, depth=depth,
                num_heads=num_heads)


def add_reconstruction(c: ml_collections.ConfigDict, images: int = 1000) -> None:
    """Judge predicted patches beside interpolation, where the size has held-out images."""
    if "linear" in c.evals:
        test = dict(c.evals.linear.test_source.items(preserve_field_references=True))
        c.evals.reconstruction = dict(name="reconstruction", test_source=test, images=images)
