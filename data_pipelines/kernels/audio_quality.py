"""What a recording measures: silence, clipping, noise.

Reads float samples in [-1, 1], [T]; returns floats. Levels are decibels of full scale, by frames of
20 ms; without a frame's worth of samples the rest is one frame.
"""

import numpy as np

FRAME = 0.02                   # seconds
FLOOR = 1e-10                  # power of -100 dB: digital silence has a logarithm
FULL = 0.999                   # of full scale; 16-bit and 8-bit converters clip at 32767/32768


def levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return the level of each frame, dB of full scale, float64 [frames]."""
    size = max(1, min(len(samples), round(FRAME * rate)))
    frames = samples[:len(samples) // size * size].astype(np.float64).reshape(-1, size)
    return 10 * np.log10(np.maximum((frames**2).mean(axis=1), FLOOR))


def silence(levels: np.ndarray, threshold: float = -50.0) -> float:
    """Return the share of frames under a level in dB; 1 without frames."""
    return float((levels < threshold).mean()) if len(levels) else 1.0


def clipping(samples: np.ndarray) -> float:
    """Return the share of samples that are at full scale beside another that is."""
    full = np.abs(samples) >= FULL
    runs = np.zeros_like(full)
    runs[1:] |= full[1:] & full[:-1]
    runs[:-1] |= full[1:] & full[:-1]
    return float(runs.mean()) if len(samples) else 0.0


def signal_to_noise(levels: np.ndarray) -> float:
    """Return the 95th less the 10th percentile of frames' levels, dB.

    NIST's stnr and WADA estimate the same from histograms; pauses must be a tenth of the
    recording for the lower percentile to be noise. 0 without frames.
    """
    return float(np.subtract(*np.percentile(levels, [95, 10]))) if len(levels) else 0.0
