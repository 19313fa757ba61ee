"""Drop recordings that are too short or long, silent, clipped or noisy.

Reads and returns the table of documents with a column of encoded audio (what libsndfile reads: WAV,
FLAC, OGG, MP3); adds `audio_seconds`, `audio_silence`, `audio_clipping`, `audio_snr` (float32);
null where dropped before and where it cannot be decoded ("audio_unreadable"). The first failing
rule names the drop, and `detail` is the value measured and its bound.
"""

import io

import numpy as np
import pyarrow as pa

from data_pipelines.kernels.audio_quality import clipping, levels, signal_to_noise, silence
from data_pipelines.table import Step, add_column, drop, kept
from ssljax.core.errors import MissingExtraError

ROWWISE = True
COLUMNS = ("audio_seconds", "audio_silence", "audio_clipping", "audio_snr")


def make(*, audio: str = "audio", min_seconds: float = 0.1, max_seconds: float = 3600.0,
         silent_level: float = -50.0, max_silence: float = 0.8, max_clipping: float = 0.01,
         min_snr: float = 10.0) -> Step:
    """Return the step.

    Args:
        audio: column of encoded recordings, bytes.
        min_seconds: shortest. "audio_short"
        max_seconds: longest; nothing of a longer one is decoded. "audio_long"
        silent_level: dB of full scale under which a frame is silent.
        max_silence: greatest share of silent frames. "audio_silent"
        max_clipping: greatest share of clipped samples. "audio_clipped"
        min_snr: least ratio of signal to noise, dB. "audio_noisy"
    """
    def apply(table: pa.Table) -> pa.Table:
        columns: dict[str, list[float | None]] = {n: [None] * table.num_rows for n in COLUMNS}
        verdicts = {}
        for row in kept(table).tolist():
            found = measure(table[audio][row].as_py(), max_seconds, silent_level)
            if found is None:
                verdicts[row] = ("audio_unreadable", "cannot be decoded")
                continue
            for name, value in zip(COLUMNS, found):
                columns[name][row] = value
            rules = (("audio_short", min_seconds, 1), ("audio_long", max_seconds, -1),
                     ("audio_silent", max_silence, -1), ("audio_clipped", max_clipping, -1),
                     ("audio_noisy", min_snr, 1))
            # What is too long has no more than its duration, and fails before the rest is asked.
            for (reason, bound, sign), value in zip(rules, found[:1] + found):
                if sign * value < sign * bound:
                    verdicts[row] = (reason, f"{value:.4g} {'<' if sign > 0 else '>'} {bound:g}")
                    break
        for name, values in columns.items():
            table = add_column(table, name, pa.array(values, pa.float32()))
        return drop(table, verdicts)

    return apply


def measure(data: bytes | None, max_seconds: float, silent_level: float) -> list[float] | None:
    """Return the values of COLUMNS, the first alone for what is too long; None if undecodable.

    Raises:
        MissingExtraError: soundfile is not installed.
    """
    try:
        import soundfile
    except (ImportError, OSError) as err:
        raise MissingExtraError("soundfile", "curate") from err
    try:
        with soundfile.SoundFile(io.BytesIO(data or b"")) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            if seconds > max_seconds:
                return [seconds]
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, ValueError, TypeError, MemoryError):
        return None
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    if not np.isfinite(mono).all():
        return None
    found = levels(mono, rate)
    return [seconds, silence(found, silent_level), clipping(samples.ravel("F")),
            signal_to_noise(found)]
