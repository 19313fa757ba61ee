"""By how much a model beats or misses a baseline, as numbers and as words. Free of jax."""

from collections.abc import Mapping
from typing import Any

# Key of a figure -> how it is called.
BASELINES = {"xz": "xz -9", "unigram": "byte unigram", "fivegram": "byte 5-gram",
             "fivegram_kneser_ney": "byte 5-gram, Kneser-Ney"}


def against(model: float, baseline: float) -> dict[str, float]:
    """Return what the model saves: positive numbers beat the baseline.

    Args:
        model: bits per byte of the model.
        baseline: bits per byte of the baseline.

    Returns:
        bits_per_byte, baseline - model, and percent of the baseline.
    """
    saved = baseline - model
    return {"bits_per_byte": saved, "percent": 100 * saved / baseline}


def verdict(label: str, saved: Mapping[str, Any]) -> str:
    """Return "beats {label} by 0.120 bits per byte (8.1 %)", or misses."""
    verb = "beats" if saved["bits_per_byte"] > 0 else "misses"
    return (f"{verb} {label} by {abs(saved['bits_per_byte']):.3f} bits per byte "
            f"({abs(saved['percent']):.1f} %)")
