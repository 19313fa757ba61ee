"""Two random views of every image, for contrastive and other joint-embedding methods.

The augmentations of SimCLR, https://arxiv.org/abs/2002.05709 (appendix A): crop, flip, colour
jitter, grey, blur. With a probability of each view, those of BYOL, https://arxiv.org/abs/2006.07733
(appendix B): jitter=(0.4, 0.4, 0.2, 0.1), blur_probability=(1.0, 0.1) and
solarise_probability=(0.0, 0.2). Reads records {"image": a file's bytes or uint8 [H, W, C], "id"};
the device part adds view1 and view2 float32 [size, size, C].
"""

from collections.abc import Sequence

import jax

from ssljax.augment.crop import Method
from ssljax.augment.pixels import standardise, to_unit
from ssljax.augment.view import View, of_each, random_view, strengths_of
from ssljax.core.types import Example, Key, Pretext
from ssljax.pretext.image import HostCrop, image_format

TINY = {"size": 8, "channels": 1}


def make(*, size: int, source_size: int = 0, channels: int = 3, min_area: float = 0.08,
         max_area: float = 1.0, host_crop: HostCrop = "centre", method: Method = "bilinear",
         flip_probability: float = 0.5, jitter: float | Sequence[float] = 1.0,
         jitter_probability: float = 0.8, gray_probability: float = 0.2,
         blur_probability: float | Sequence[float] = 0.5,
         solarise_probability: float | Sequence[float] = 0.0, mean: Sequence[float] = (0.5,),
         std: Sequence[float] = (0.5,)) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width of a view, and of images in evaluation, in pixels.
        source_size: height and width of images as they reach the device; `size` unless told.
        channels: 1 or 3; grey images have neither saturation nor hue.
        min_area: smallest fraction of the image that a crop covers.
        max_area: largest.
        host_crop: what is kept of image files while they are decoded: "centre" their centre square,
            from which the device crops; "random" both views' random crops, from all the pixels of
            the file and without cutting its sides, for twice the bytes to the device.
        method: interpolation of crops on the device.
        flip_probability: of mirroring; 0 where left and right mean something.
        jitter: strengths of brightness, contrast, saturation and hue; a number scales
            (0.8, 0.8, 0.8, 0.2).
        jitter_probability: of any jitter.
        gray_probability: of losing all colour.
        blur_probability: of Gaussian blur, of both views or of each; left out at 32 pixels in the
            paper.
        solarise_probability: of inverted bright values, likewise.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.
    """
    areas, on_host = (min_area, max_area), host_crop == "random"
    images = image_format(source_size, size, channels, mean, std, crops=2 * on_host, areas=areas)
    blurs, solarised = (of_each("blur_probability", blur_probability, 2),
                        of_each("solarise_probability", solarise_probability, 2))
    both = [View(size, areas, method, flip_probability, strengths_of(jitter), jitter_probability,
                 gray_probability, blur, solarise)
            for blur, solarise in zip(blurs, solarised, strict=True)]

    def views(key: Key, example: Example) -> Example:
        stored = to_unit(example["image"])
        crops = stored if on_host else (stored, stored)
        made = [random_view(k, image, view, cropped=on_host)
                for k, image, view in zip(jax.random.split(key), crops, both, strict=True)]
        view1, view2 = (standardise(v, images.mean, images.std) for v in made)
        return {"view1": view1, "view2": view2}

    return Pretext(images.example, images.plain, views, images.spec())
