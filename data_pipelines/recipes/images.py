"""Image files to ArrayRecord shards for Grain: sound, sharp, and each picture once.

    ssljax curate --config data_pipelines/recipes/images.py --input photos/ --output DIR
    source = dict(name="images", path="DIR/train")          in the config of a run

The input is a folder, zip or tar archives, or a URL.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """Return the recipe; `arg` is its name where it is not "images"."""
    return ConfigDict({
        "name": arg or "images",
        "input": "",
        "output": "runs/data/images",
        "licence": "",
        "validation_fraction": 0.02,
        "steps": (
            {"name": "read_images"},
            {"name": "image_quality"},      # unreadable, small, long, blurred, flat
            {"name": "exact_duplicates"},   # of files, before any is hashed
            {"name": "image_duplicates"},   # of what they show
            {"name": "split"},
        ),
        "options": {
            # LAION's sets: at least 64 pixels a side and at most 3 to 1; a Laplacian's variance
            # under 20 is a blur (Pech-Pacheco et al. 2000, at our scale of grey levels).
            "image_quality": {"min_side": 64, "max_aspect": 3.0, "min_sharpness": 20.0,
                              "min_entropy": 3.0},
            "exact_duplicates": {"key": "sha256"},
            # pHash: six of 64 bits, which re-compression and scaling stay under.
            "image_duplicates": {"kind": "frequency", "within": 6},
        },
        # Grain's files; {"name": "parquet", "columns": ("image", "label")} for everyone else.
        "target": {"name": "array_record", "columns": ("image",), "shard_bytes": 268_435_456},
    })
