"""Recordings to ArrayRecord shards for Grain: audible, unclipped, and each once.

    ssljax curate --config data_pipelines/recipes/audio.py --input recordings/ --output DIR

The input is a folder, zip or tar archives, or a URL of what libsndfile reads.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """Return the recipe; `arg` is its name where it is not "audio"."""
    return ConfigDict({
        "name": arg or "audio",
        "input": "",
        "output": "runs/data/audio",
        "licence": "",
        "validation_fraction": 0.02,
        "steps": (
            {"name": "read_audio"},
            {"name": "audio_quality"},      # unreadable, short, long, silent, clipped, noisy
            {"name": "exact_duplicates"},
            {"name": "split"},
        ),
        "options": {
            # Levels in dB of full scale. Speech corpora ask for 10 to 20 dB of signal to noise
            # (such as https://arxiv.org/abs/2203.16776); a pause is some 50 dB under full scale.
            "audio_quality": {"min_seconds": 0.1, "max_seconds": 3600.0, "silent_level": -50.0,
                              "max_silence": 0.8, "max_clipping": 0.01, "min_snr": 10.0},
            "exact_duplicates": {"key": "sha256"},
        },
        "target": {"name": "array_record", "columns": ("audio", "label"),
                   "shard_bytes": 268_435_456},
    })
