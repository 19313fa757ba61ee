"""One random crop of every image, and the tokens of its caption, for CLIP and SigLIP.

A random crop is the only augmentation of CLIP, https://arxiv.org/abs/2103.00020 (section 2.3);
mirroring is an option, since captions may say left and right. Reads records {"image", "text": str
or several of which one is drawn, "id"}; the device part replaces image by float32 [size, size, C].
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from ssljax.augment.crop import Method, random_crop
from ssljax.augment.flip import random_flip
from ssljax.augment.pixels import standardise, to_unit
from ssljax.core.errors import ConfigError, UnreadableRecordError
from ssljax.core.source import Record
from ssljax.core.tokenizer import Tokenizer, padded_tokens
from ssljax.core.types import Example, Key, Pretext
from ssljax.pretext.image import HostCrop, image_format

TINY = {"size": 8, "channels": 1, "seq_len": 24, "tokenizer": {"name": "byte"}}


def caption(record: Record, rng: np.random.Generator) -> str:
    """Return the caption of a record, or one of its captions.

    Raises:
        UnreadableRecordError: it has none; where none has, the stream ends with this message.
    """
    text = record.get("text")
    texts = [text] if isinstance(text, str) else list(text or ())
    if not texts:
        raise UnreadableRecordError(
            f"Record {record['id']} has no text; image_text reads records with image and text: see "
            "sources/captioned.py where there are labels instead.", "no_caption")
    return texts[int(rng.integers(len(texts)))]


def make(*, size: int, seq_len: int, tokenizer: Tokenizer, source_size: int = 0, channels: int = 3,
         min_area: float = 0.5, max_area: float = 1.0, host_crop: HostCrop = "centre",
         method: Method = "bilinear", flip_probability: float = 0.0, mean: Sequence[float] = (0.5,),
         std: Sequence[float] = (0.5,)) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width of a crop, and of images in evaluation, in pixels.
        seq_len: L, tokens of a caption with its end; longer ones are cut, shorter filled up.
        tokenizer: of the captions.
        source_size: height and width of images as they reach the device; `size` unless told.
        channels: 1 or 3.
        min_area: smallest fraction of the image that a crop covers.
        max_area: largest.
        host_crop: "centre" keeps the centre square of image files, from which the device crops;
            "random" crops while they are decoded, from all their pixels.
        method: interpolation of crops on the device.
        flip_probability: of mirroring; 0 where captions tell left from right.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.

    Raises:
        ConfigError: captions have no room.
    """
    if seq_len < 2:
        raise ConfigError(f"image_text seq_len {seq_len}: expected at least 2, a token and the "
                          "end; 77 is CLIP's.")
    areas, on_host = (min_area, max_area), host_crop == "random"
    images = image_format(source_size, size, channels, mean, std, crops=int(on_host), areas=areas)

    def example(record: Record, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        tokens = padded_tokens(tokenizer, caption(record, rng), seq_len)
        return {**images.example(record, rng), "tokens": tokens}

    def views(key: Key, example: Example) -> Example:
        k_crop, k_flip = jax.random.split(key)
        image = to_unit(example["image"])
        image = random_crop(k_crop, image, size=size, areas=areas, method=method, cropped=on_host)
        image = random_flip(k_flip, image, probability=flip_probability)
        return {"image": standardise(image, images.mean, images.std)}

    spec = {**images.spec(), "tokens": ((seq_len,), "int32")}
    return Pretext(example, images.plain, views, spec)
