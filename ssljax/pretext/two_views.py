"""Two random views of every image, for contrastive and other joint-embedding methods.

The augmentations of SimCLR, https://arxiv.org/abs/2002.05709 (appendix A): crop, flip, colour
jitter, grey, blur. Reads records {"image": uint8 [H, W, C], "id"}; the device part adds view1 and
view2 float32 [size, size, C].
"""

from collections.abc import Sequence

import jax

from ssljax.augment.blur import random_blur
from ssljax.augment.crop import Method, crop_resize, random_box
from ssljax.augment.flip import random_flip
from ssljax.augment.grayscale import random_grayscale
from ssljax.augment.jitter import random_jitter
from ssljax.augment.pixels import standardise, to_unit
from ssljax.core.types import Example, Key, Pretext
from ssljax.pretext.image import image_format

TINY = {"size": 8, "channels": 1}


def make(*, size: int, source_size: int = 0, channels: int = 3, min_area: float = 0.08,
         max_area: float = 1.0, method: Method = "bilinear", flip_probability: float = 0.5,
         jitter: float = 1.0, jitter_probability: float = 0.8, gray_probability: float = 0.2,
         blur_probability: float = 0.5, mean: Sequence[float] = (0.5,),
         std: Sequence[float] = (0.5,)) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width of a view, and of images in evaluation, in pixels.
        source_size: height and width of stored images; `size` unless told.
        channels: 1 or 3; grey images have neither saturation nor hue.
        min_area: smallest fraction of the image that a crop covers.
        max_area: largest.
        method: interpolation of crops.
        flip_probability: of mirroring; 0 where left and right mean something.
        jitter: strength; 1 is (0.8, 0.8, 0.8, 0.2) of brightness, contrast, saturation, hue.
        jitter_probability: of any jitter.
        gray_probability: of losing all colour.
        blur_probability: of Gaussian blur; the paper leaves it out at 32 pixels.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.
    """
    images = image_format(source_size, size, channels, mean, std)
    strengths = (0.8 * jitter, 0.8 * jitter, 0.8 * jitter, 0.2 * jitter)

    def view(key: Key, image: jax.Array) -> jax.Array:
        k_crop, k_flip, k_jitter, k_gray, k_blur = jax.random.split(key, 5)
        box = random_box(k_crop, *image.shape[:2], min_area=min_area, max_area=max_area)
        image = crop_resize(image, box, size=size, method=method).clip(0, 1)   # cubic overshoots
        image = random_flip(k_flip, image, probability=flip_probability)
        image = random_jitter(k_jitter, image, strengths=strengths, probability=jitter_probability)
        image = random_grayscale(k_gray, image, probability=gray_probability)
        image = random_blur(k_blur, image, probability=blur_probability)
        return standardise(image, images.mean, images.std)

    def views(key: Key, example: Example) -> Example:
        key1, key2 = jax.random.split(key)
        image = to_unit(example["image"])
        return {"view1": view(key1, image), "view2": view(key2, image)}

    return Pretext(images.example, images.plain, views, images.spec())
