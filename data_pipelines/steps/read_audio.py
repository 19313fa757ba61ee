"""Recordings become rows, their bytes in a column: the first step of recipes of audio.

Reads a folder, zip or tar archives, or a URL; data_pipelines/media.py has the columns and the
reasons. Nothing is decoded here: `audio_quality` drops what is no recording.
"""

from data_pipelines.media import media_source
from data_pipelines.source import Source

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au")   # of libsndfile


def make(*, audio: str = "audio", input: str = "", licence: str = "unknown") -> Source:
    """Return the source.

    Args:
        audio: column of encoded recordings.
        input: folder, archive or URL.
        licence: of the recordings.
    """
    return media_source(folder=input, licence=licence, column=audio, suffixes=SUFFIXES)
