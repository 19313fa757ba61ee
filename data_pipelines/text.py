"""The recipe of text: files to token shards with a byte-level BPE.

    ssljax curate --config data_pipelines/text.py --input DIR --output DIR --config.vocab_size=8192

Steps run in this order and are files of data_pipelines/steps. To change one, copy this file.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """Return the recipe; `arg` is its name where it is not "text"."""
    return ConfigDict({
        "name": arg or "text",
        "input": "",                    # a folder; empty: this interpreter's standard library
        "output": "runs/data/text",
        "licence": "",                  # of the input; empty: PSF-2.0 for the standard library
        "tokenizer": "bpe",             # "bpe" trains one; "byte"; or the path of a tokenizer.json
        "vocab_size": 4096,             # ids of a trained tokenizer
        "tokenizer_bytes": 64_000_000,  # text it learns from: 0.25 s of one core a megabyte
        "validation_fraction": 0.05,    # of the documents
        "shard_tokens": 16_777_216,     # 32 MiB a shard
        "target": {"name": "tokens"},   # or "parquet", "array_record": data_pipelines/targets
        "steps": (
            {"name": "read_files"},
            {"name": "normalise"},
            {"name": "quality"},
            {"name": "exact_duplicates"},
            {"name": "near_duplicates"},
            {"name": "split"},
        ),
        "options": {                    # arguments of the steps, explained in their files
            "quality": {
                "min_words": 20,
                "max_characters": 2_000_000,
                "min_word_length": 2.0,
                "max_word_length": 20.0,
                "max_long_words": 0.2,
                "min_letters": 0.4,
                "max_digits": 0.3,
                "max_bullet_lines": 0.9,
                "max_ellipsis_lines": 0.3,
                "max_duplicate_lines": 0.5,
                "min_compressed": 0.08,
            },
            "near_duplicates": {"drop": 0.8, "cluster": 0.5},
        },
    })
