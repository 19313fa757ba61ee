"""What the image pretexts share: the record on the host, and its deterministic transform.

A record's "image" is either the bytes of an image file (JPEG, PNG, ...), decoded here to a fixed
shape, or uint8 [source_size, source_size, C] already. Decoding is the only work of the host:
everything else that is random happens on the device.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from ssljax.core.errors import ConfigError, DataError
from ssljax.core.source import Record
from ssljax.core.types import Example
from ssljax.media.operations import Preparation, image_files

HostCrop = Literal["centre", "random"]


class Crops(NamedTuple):
    """Random crops of one image made while it is decoded.

    size:  height and width of each, in pixels
    areas: smallest and largest fraction of the image that one covers
    """

    count: int
    size: int
    areas: tuple[float, float]


class ImageFormat(NamedTuple):
    """Images as the source stores them and as the network reads them.

    source_size: height and width of images as they reach the device, in pixels
    size:        height and width the network reads
    channels:    C
    mean, std:   of each channel in [0, 1] units; one value serves all channels
    crops:       random crops of an image while it is decoded; 0 takes its centre square
    areas:       smallest and largest fraction of the image that a random crop covers
    """

    source_size: int
    size: int
    channels: int
    mean: Sequence[float]
    std: Sequence[float]
    crops: int = 0
    areas: tuple[float, float] = (1.0, 1.0)

    def spec(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return the arrays of `example`: labels stay behind, pre-training never sees them."""
        several = (self.crops,) if self.crops > 1 else ()
        return {"image": (several + self.shape, "uint8"), "id": ((2,), "uint32")}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of one image as it reaches the device."""
        return self.source_size, self.source_size, self.channels

    def example(self, record: Record, rng: np.random.Generator) -> Example:
        """Return the stored image, or random crops of it: uint8 [crops, H, W, C] if several.

        Raises:
            UnreadableRecordError: a file cannot be decoded.
            DataError: an array has another shape or dtype than the config says.
        """
        if not self.crops:
            return {"image": self.stored(record), "id": record["id"]}
        images, = self.random_crops(record["image"], rng,
                                    [Crops(self.crops, self.source_size, self.areas)])
        return {"image": images if self.crops > 1 else images[0], "id": record["id"]}

    @property
    def plain(self) -> Preparation:
        """Return the transform to {"image": float32 [size, size, C]}, as declared operations.

        The centre square, resized and standardised; data that artefacts carry to serving.
        """
        return Preparation({"image": (
            {"name": "read_image", "channels": self.channels, "stored_size": self.source_size,
             "at_least": self.size},
            {"name": "centre_square", "size": self.size},
            {"name": "standardise", "mean": list(self.mean), "std": list(self.std)})})

    def stored(self, record: Record) -> np.ndarray:
        """Return the record's image as it reaches the device.

        Raises:
            UnreadableRecordError: a file cannot be decoded.
            DataError: an array has another shape or dtype than the config says.
        """
        image = record["image"]
        if isinstance(image, bytes):
            return self.centre(image, self.source_size)
        if image.shape != self.shape or image.dtype != np.uint8:
            raise DataError(f"image {image.dtype} {image.shape} of record {record['id']}; expected "
                            f"uint8 {self.shape}. Set source_size and channels of the pretext.")
        return image

    def centre(self, data: bytes, size: int) -> np.ndarray:
        """Return the centre square of a file at [size, size, C]."""
        files = image_files()
        image = files.to_channels(files.open_image(data, at_least=size), self.channels)
        return files.to_array(files.resize(image, files.centre_square(image), size))

    def random_crops(self, image: bytes | np.ndarray, rng: np.random.Generator,
                     kinds: Sequence[Crops]) -> list[np.ndarray]:
        """Return crops of a file, decoded once, or of an array: uint8 [count, size, size, C] each.

        Raises:
            UnreadableRecordError: a file cannot be decoded.
        """
        files = image_files()
        # A crop may cover a small part of the image, so all its pixels are decoded.
        opened = (files.open_image(image) if isinstance(image, bytes) else
                  files.Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]))
        opened = files.to_channels(opened, self.channels)

        def crop(kind: Crops) -> np.ndarray:
            low, high = kind.areas
            box = files.random_square(rng, opened, min_area=low, max_area=high)
            return files.to_array(files.resize(opened, box, kind.size))

        return [np.stack([crop(kind) for _ in range(kind.count)]) for kind in kinds]


def image_format(source_size: int, size: int, channels: int, mean: Sequence[float],
                 std: Sequence[float], *, crops: int = 0,
                 areas: tuple[float, float] = (1.0, 1.0)) -> ImageFormat:
    """Return the format; a source_size of 0 means `size`.

    Raises:
        ConfigError: mean or std have neither one value nor one a channel, channels are odd, or
            areas are no range of fractions.
    """
    if channels not in (1, 3):
        raise ConfigError(f"pretext channels {channels}: expected 1 (grey) or 3 (colour).")
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise ConfigError(f"pretext {name} {tuple(values)} has {len(values)} values; expected "
                              f"one, or one for each of {channels} channels.")
    if not 0 < areas[0] <= areas[1] <= 1:
        raise ConfigError(f"pretext min_area {areas[0]} and max_area {areas[1]}: expected "
                          "fractions of the image, 0 < min_area <= max_area <= 1.")
    return ImageFormat(source_size or size, size, channels, tuple(mean), tuple(std), crops, areas)
