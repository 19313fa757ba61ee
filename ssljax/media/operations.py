"""How a record becomes what a network reads, as plain data that training and serving share.

    {"image": [{"name": "read_image", "channels": 3, "stored_size": 256, "at_least": 224},
               {"name": "centre_square", "size": 224},
               {"name": "standardise", "mean": [0.5], "std": [0.5]}]}

is what `plain` of an image pretext does and what manifest.json says under "preprocessing". Every
operation is a function of the value before it and of its arguments. Media of another kind bring
operations of their own (a "read_audio", a "resample"); nothing else here changes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.errors import ConfigError, DataError, UnreadableRecordError, nearest, needed

Operation = Mapping[str, Any]              # {"name": of OPERATIONS, **its arguments}


class Preparation(NamedTuple):
    """A deterministic transform of records that can be written down; called as any `plain` is.

    inputs: name -> the operations that prepare it, in order
    """

    inputs: Mapping[str, Sequence[Operation]]

    def __call__(self, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return every declared input of `record`, prepared; other keys stay behind.

        Raises:
            UnreadableRecordError: an encoded value cannot be decoded.
            DataError: an array has another shape or dtype than declared.
        """
        return {name: prepare(record[name], steps) for name, steps in self.inputs.items()}


def prepare(value: Any, operations: Sequence[Operation]) -> Any:
    """Return `value` after all `operations`.

    Raises:
        ConfigError: an operation is unknown, or takes other arguments.
    """
    for operation in operations:
        arguments = {key: x for key, x in operation.items() if key != "name"}
        value = operation_of(operation)(value, **arguments)
    return value


def operation_of(operation: Operation) -> Callable[..., Any]:
    """Return the function of an operation.

    Raises:
        ConfigError: its name is not one of OPERATIONS; the artefact may be of a newer ssljax.
    """
    name = operation.get("name")
    if name not in OPERATIONS:
        raise ConfigError(f'There is no operation "{name}"; {nearest(str(name), OPERATIONS)}')
    return OPERATIONS[name]


def read_image(value: Any, *, channels: int, stored_size: int, at_least: int = 0) -> Any:
    """Return an upright Pillow image of the bytes of a file, or stored pixels in [0, 1].

    Args:
        value: bytes of an image file of any kind, or uint8 [stored_size, stored_size, channels].
        channels: 1 (grey) or 3 (colour).
        stored_size: height and width of arrays.
        at_least: pixels of a side that the decoder may shrink a large JPEG to.

    Raises:
        UnreadableRecordError: the file cannot be decoded.
        DataError: the array has another shape or dtype.
    """
    if isinstance(value, bytes):
        image = image_files()
        return image.to_channels(image.open_image(value, at_least=at_least), channels)
    shape = (stored_size, stored_size, channels)
    if not isinstance(value, np.ndarray):
        raise UnreadableRecordError(f"expected the bytes of an image, found {type(value).__name__}")
    if value.shape != shape or value.dtype != np.uint8:
        raise DataError(f"image {value.dtype} {value.shape}; expected uint8 {shape}, or the bytes "
                        "of a file of any size. Set source_size and channels of the pretext.")
    return to_unit(value)


def centre_square(value: Any, *, size: int) -> np.ndarray:
    """Return the largest centred square at float32 [size, size, C] in about [0, 1].

    Cubic and antialiased either way; pixels of files are rounded to 8 bits afterwards, as Pillow
    does, those of arrays are not.
    """
    if not isinstance(value, np.ndarray):
        image = image_files()
        return to_unit(image.to_array(image.resize(value, image.centre_square(value), size)))
    return value if value.shape[:2] == (size, size) else resized_square(value, size)


def stretch(value: Any, *, size: int, filter: str) -> np.ndarray:
    """Return the whole image at float32 [size, size, C] in [0, 1], whatever its aspect.

    What Hugging Face's ViTImageProcessor does. `filter` is one of Pillow's: nearest, bilinear, ...

    Raises:
        DataError: stored pixels have another size: there is no file to resample.
    """
    if isinstance(value, np.ndarray):
        if value.shape[:2] != (size, size):
            raise DataError(f"image of {value.shape[:2]} pixels; expected {size} by {size}, or the "
                            "bytes of a file of any size.")
        return value
    image = image_files()
    kind = image.Image.Resampling[filter.upper()]
    return to_unit(image.to_array(value.resize((size, size), kind)))


def standardise(value: np.ndarray, *, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Subtract the mean and divide by the standard deviation of each channel, in [0, 1] units."""
    return (value - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


def to_unit(image: np.ndarray) -> np.ndarray:
    """Map uint8 to float32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(255)


def resized_square(image: np.ndarray, size: int) -> np.ndarray:
    """Return the centred square of float32 [H, W, C] at [size, size, C], by jax's resampling."""
    import jax  # files never need it

    height, width, channels = image.shape
    side = min(height, width)
    corner = np.array([(height - side) / 2, (width - side) / 2], np.float32)
    scale = size / np.array([side, side], np.float32)
    return np.asarray(jax.image.scale_and_translate(
        image, (size, size, channels), (0, 1), scale, -corner * scale, "cubic"))


def image_files() -> Any:
    """Return ssljax.media.image; imported here, as records of arrays need no decoder.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    with needed("pillow", "serve"):
        from ssljax.media import image
    return image


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "read_image": read_image, "centre_square": centre_square, "stretch": stretch,
    "standardise": standardise,
}
