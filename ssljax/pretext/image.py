"""What the image pretexts share: the record on the host, and its deterministic transform."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssljax.augment.crop import centre_box, crop_resize
from ssljax.augment.pixels import standardise, to_unit
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.source import Record
from ssljax.core.types import Example


class ImageFormat(NamedTuple):
    """Images as the source stores them and as the network reads them.

    source_size: height and width of stored images, in pixels
    size:        height and width the network reads
    channels:    C
    mean, std:   of each channel in [0, 1] units; one value serves all channels
    """

    source_size: int
    size: int
    channels: int
    mean: Sequence[float]
    std: Sequence[float]

    def spec(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return the arrays of `example`: labels stay behind, pre-training never sees them."""
        stored = (self.source_size, self.source_size, self.channels)
        return {"image": (stored, "uint8"), "id": ((2,), "uint32")}

    def example(self, record: Record, rng: np.random.Generator) -> Example:
        """Return the stored image; everything random happens on the device."""
        del rng
        return {"image": self.stored(record), "id": record["id"]}

    def plain(self, record: Record) -> Example:
        """Return {"image": float32 [size, size, C]}: the centre square, resized, standardised."""
        image = to_unit(self.stored(record))
        if self.size != self.source_size:
            box = centre_box(*image.shape[:2])
            image = np.asarray(crop_resize(image, box, size=self.size, method="cubic"))
        return {"image": standardise(image, self.mean, self.std)}

    def stored(self, record: Record) -> np.ndarray:
        """Return the record's image.

        Raises:
            DataError: it has another shape or dtype than the config says.
        """
        image, (shape, dtype) = record["image"], self.spec()["image"]
        if image.shape != shape or image.dtype != dtype:
            raise DataError(f"image {image.dtype} {image.shape} of record {record['id']}; expected "
                            f"{dtype} {shape}. Set source_size and channels of the pretext.")
        return image


def image_format(source_size: int, size: int, channels: int, mean: Sequence[float],
                 std: Sequence[float]) -> ImageFormat:
    """Return the format; a source_size of 0 means `size`.

    Raises:
        ConfigError: mean or std have neither one value nor one a channel, or channels are odd.
    """
    if channels not in (1, 3):
        raise ConfigError(f"pretext channels {channels}: expected 1 (grey) or 3 (colour).")
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise ConfigError(f"pretext {name} {tuple(values)} has {len(values)} values; expected "
                              f"one, or one for each of {channels} channels.")
    return ImageFormat(source_size or size, size, channels, tuple(mean), tuple(std))
