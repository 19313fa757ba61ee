"""Image files become rows, their bytes in a column: the first step of recipes of images.

Reads a folder, zip or tar archives, or a URL; data_pipelines/media.py has the columns and the
reasons. Nothing is decoded here: `image_quality` drops what is no image.
"""

from data_pipelines.media import media_source
from data_pipelines.source import Source
from ssljax.sources.image_index import SUFFIXES


def make(*, image: str = "image", input: str = "", licence: str = "unknown") -> Source:
    """Return the source.

    Args:
        image: column of encoded images.
        input: folder, archive or URL.
        licence: of the images.
    """
    return media_source(folder=input, licence=licence, column=image, suffixes=SUFFIXES)
