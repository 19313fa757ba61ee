"""Two large and some small views of every image, and patches of the large ones that are hidden.

SwAV, https://arxiv.org/abs/2006.09882 (section 3.4), DINO, https://arxiv.org/abs/2104.14294, iBOT,
https://arxiv.org/abs/2111.07832 and DINOv2, https://arxiv.org/abs/2304.07193. Reads records
{"image": a file's bytes or uint8 [H, W, C], "id"}; the device part makes view1 and view2 float32
[size, size, C], local float32 [V, local_size, local_size, C] where there are local crops and, where
patch_size is given, hidden1 and hidden2 bool [N]: blocks in a share of the views, in the others
nothing.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.augment.block_mask import block_mask
from ssljax.augment.crop import Method
from ssljax.augment.pixels import standardise, to_unit
from ssljax.augment.view import View, of_each, random_view, strengths_of
from ssljax.core.errors import ConfigError
from ssljax.core.source import Record
from ssljax.core.types import Example, Key, Pretext
from ssljax.nn.patches import patch_grid
from ssljax.pretext.image import Crops, HostCrop, image_format

TINY = {"size": 8, "local_size": 4, "local_crops": 2, "channels": 1, "patch_size": 2}


def make(*, size: int, local_size: int = 0, local_crops: int = 6, patch_size: int = 0,
         hidden_probability: float = 0.5, min_hidden: float = 0.1, max_hidden: float = 0.5,
         min_block: int = 4, source_size: int = 0, channels: int = 3, min_area: float = 0.4,
         max_area: float = 1.0, local_min_area: float = 0.05, local_max_area: float = 0.4,
         host_crop: HostCrop = "centre", method: Method = "cubic", flip_probability: float = 0.5,
         jitter: float | Sequence[float] = (0.4, 0.4, 0.2, 0.1), jitter_probability: float = 0.8,
         gray_probability: float = 0.2, blur_probability: float | Sequence[float] = (1.0, 0.1, 0.5),
         solarise_probability: float | Sequence[float] = (0.0, 0.2, 0.0),
         mean: Sequence[float] = (0.5,), std: Sequence[float] = (0.5,)) -> Pretext:
    """Return the pretext; defaults are DINO's.

    Args:
        size: height and width of the large views, and of images in evaluation, in pixels.
        local_size: of the small ones; 3/7 of `size` in whole patches unless told (96 of 224).
        local_crops: V, how many; 0 leaves "local" out.
        patch_size: side of a patch in pixels, of methods that hide some; 0 hides none.
        hidden_probability: of a large view to have any patch hidden.
        min_hidden: smallest fraction of its patches that are hidden then, drawn uniformly,
        max_hidden: and largest.
        min_block: patches of the smallest hidden block.
        source_size: height and width of images as they reach the device; `size` unless told.
        channels: 1 or 3.
        min_area: smallest fraction of the image that a large view covers.
        max_area: largest.
        local_min_area: smallest of a small view.
        local_max_area: largest of a small view.
        host_crop: what is kept of image files while they are decoded: "centre" their centre square,
            from which the device crops; "random" all views' random crops, from all the pixels of
            the file and without cutting its sides, for more bytes to the device.
        method: interpolation of crops on the device.
        flip_probability: of mirroring; 0 where left and right mean something.
        jitter: strengths of brightness, contrast, saturation and hue; a number scales SimCLR's
            (0.8, 0.8, 0.8, 0.2).
        jitter_probability: of any jitter.
        gray_probability: of losing all colour.
        blur_probability: of all views, or of view1, view2 and local ones.
        solarise_probability: likewise.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.

    Raises:
        ConfigError: a size, fraction or probability is out of range.
    """
    images = image_format(source_size, size, channels, mean, std)
    unit = patch_size or 1
    small = local_size or max(1, round(size * 3 / 7 / unit)) * unit
    kinds = views_of(size, small, (min_area, max_area),
                     (local_min_area, local_max_area), method, flip_probability,
                     strengths_of(jitter), jitter_probability, gray_probability,
                     of_each("blur_probability", blur_probability, 3),
                     of_each("solarise_probability", solarise_probability, 3))
    grid = patch_grid(size, patch_size) if patch_size else 0
    on_host = host_crop == "random"
    kept = {"image": Crops(2, images.source_size, (min_area, max_area)),
            "local": Crops(local_crops, small, (local_min_area, local_max_area))}
    kept = {name: crops for name, crops in kept.items() if crops.count}
    if not 0 <= min_hidden <= max_hidden < 1:
        raise ConfigError(f"pretext min_hidden {min_hidden} and max_hidden {max_hidden}: expected "
                          "fractions of the patches, min_hidden <= max_hidden < 1.")

    def cropped(record: Record, rng: np.random.Generator) -> Example:
        made = images.random_crops(record["image"], rng, list(kept.values()))
        return {**dict(zip(kept, made, strict=True)), "id": record["id"]}

    def crop(key: Key, image: jax.Array, kind: View) -> jax.Array:
        view = random_view(key, to_unit(image), kind, cropped=on_host)
        return standardise(view, images.mean, images.std)

    def hidden(key: Key) -> jax.Array:
        k_any, k_ratio, k_mask = jax.random.split(key, 3)
        ratio = jax.random.uniform(k_ratio, minval=min_hidden, maxval=max_hidden)
        count = jnp.where(jax.random.bernoulli(k_any, hidden_probability),
                          jnp.floor(ratio * grid**2).astype(jnp.int32), 0)
        return block_mask(k_mask, grid, count=count, min_block=min_block)

    def views(key: Key, example: Example) -> Example:
        k_one, k_two, k_local, k_hidden = jax.random.split(key, 4)
        image = example["image"]
        one, two = image if on_host else (image, image)
        made = {"view1": crop(k_one, one, kinds[0]), "view2": crop(k_two, two, kinds[1])}
        if local_crops:
            keys = jax.random.split(k_local, local_crops)
            each, axis = (example["local"], 0) if on_host else (image, None)
            made["local"] = jax.vmap(lambda k, x: crop(k, x, kinds[2]), (0, axis))(keys, each)
        if grid:
            made["hidden1"], made["hidden2"] = map(hidden, jax.random.split(k_hidden))
        return made

    if not on_host:
        return Pretext(images.example, images.plain, views, images.spec())
    spec = {name: ((crops.count, crops.size, crops.size, channels), "uint8")
            for name, crops in kept.items()}
    return Pretext(cropped, images.plain, views, {**spec, "id": images.spec()["id"]})


def views_of(size: int, local_size: int, areas: tuple[float, float],
             local_areas: tuple[float, float], method: Method, flip_probability: float,
             jitter: tuple[float, float, float, float], jitter_probability: float,
             gray_probability: float, blurs: Sequence[float], solarised: Sequence[float],
             ) -> list[View]:
    """Return how view1, view2 and local views are drawn.

    Raises:
        ConfigError: areas are no range of fractions, or small views are not small.
    """
    if not 0 < local_areas[0] <= local_areas[1] <= 1 or not 0 < areas[0] <= areas[1] <= 1:
        raise ConfigError(f"pretext areas {areas} and local areas {local_areas}: expected "
                          "fractions of the image, 0 < least <= most <= 1.")
    if not 0 < local_size <= size:
        raise ConfigError(f"pretext local_size {local_size}: expected 1 to size, {size}.")
    shapes = [(size, areas), (size, areas), (local_size, local_areas)]
    return [View(s, a, method, flip_probability, jitter, jitter_probability, gray_probability,
                 blur, solarise)
            for (s, a), blur, solarise in zip(shapes, blurs, solarised, strict=True)]
