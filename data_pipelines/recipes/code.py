"""Source code to token shards, after The Stack and StarCoder.

    ssljax curate --config data_pipelines/recipes/code.py --input DIR --output DIR

Kocetkov et al. 2022 (https://arxiv.org/abs/2211.15533), Li et al. 2023
(https://arxiv.org/abs/2305.06161).
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """Return the recipe; `arg` is its name where it is not "code"."""
    return ConfigDict({
        "name": arg or "code",
        "input": "",                    # a folder or URL; empty: this interpreter's own library
        "output": "runs/data/code",
        "licence": "",                  # SPDX; a file's own SPDX tag goes before it
        "tokenizer": "bpe",
        "vocab_size": 16_384,
        "tokenizer_bytes": 128_000_000,
        "validation_fraction": 0.02,
        "shard_tokens": 16_777_216,
        "target": {"name": "tokens"},   # or "parquet", "array_record": data_pipelines/targets
        "steps": (
            {"name": "read_files"},
            {"name": "normalise"},
            {"name": "licences"},       # permissive ones
            {"name": "code_lines"},     # long lines, few letters, generated, XML
            {"name": "pii"},            # secrets, addresses
            {"name": "exact_duplicates"},
            {"name": "near_duplicates"},
            {"name": "decontaminate"},
            {"name": "split"},
        ),
        "options": {
            "licences": {"unknown": False},
            # The Stack: line_max 1000, line_mean 100, alpha_frac 0.25 (bigcode-dataset).
            "code_lines": {"max_line": 1000, "max_mean_line": 100.0, "min_alphanumeric": 0.25},
            "pii": {"kinds": ("secret", "email", "ip")},            # StarCoder, section 4
            # StarCoder: 5-grams, Jaccard 0.7 (section 3.6).
            "near_duplicates": {"words": 5, "drop": 0.7, "cluster": 0.5},
            "decontaminate": {"use": False, "evals": ()},           # such as HumanEval's .jsonl
        },
    })
