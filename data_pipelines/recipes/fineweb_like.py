"""Web crawls to token shards, after FineWeb (Penedo et al. 2024, https://arxiv.org/abs/2406.17557).

    ssljax curate --config data_pipelines/recipes/fineweb_like.py --input DIR_OF_WARC --output DIR

The order is that of FineWeb's own script (datatrove/examples/fineweb.py). Steps marked `use` are
left out until they are given what they need.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """Return the recipe; `arg` is its name where it is not "fineweb_like"."""
    return ConfigDict({
        "name": arg or "fineweb_like",
        "input": "",                    # a folder or URL of WARC, WET, HTML, JSON lines, ...
        "output": "runs/data/fineweb_like",
        "licence": "",
        "tokenizer": "bpe",             # or the path of a tokenizer.json
        "vocab_size": 32_000,
        "tokenizer_bytes": 256_000_000,
        "validation_fraction": 0.005,
        "shard_tokens": 67_108_864,     # 128 MiB a shard
        "target": {"name": "tokens"},   # or "parquet", "array_record": data_pipelines/targets
        "steps": (
            {"name": "read_files"},     # pages become articles: resiliparse, trafilatura if unsure
            {"name": "url_lists"},
            {"name": "normalise"},
            {"name": "language"},
            {"name": "gopher"},         # repetition, then quality
            {"name": "c4"},
            {"name": "fineweb"},
            {"name": "exact_duplicates"},
            {"name": "near_duplicates"},
            {"name": "pii"},
            {"name": "decontaminate"},
            {"name": "split"},
        ),
        "options": {
            # Files of one entry a line; FineWeb uses the lists of Toulouse (UT1).
            "url_lists": {"use": False, "domains": "", "urls": "", "words": "", "soft_words": "",
                          "subwords": ""},
            "language": {"allowed": ("en",), "min_score": 0.65},    # FineWeb, section 3.3
            # "datatrove" gives FineWeb's own verdicts, with spaCy's words: the extra [spacy].
            "gopher": {"dialect": "fast"},
            # FineWeb keeps lines without a final mark: the rule alone would drop 30 % of tokens
            # (section 3.4).
            "c4": {"terminal_punctuation": False, "sentences": "marks"},
            "fineweb": {"dialect": "fast"},
            # FineWeb hashes 5-grams into 14 bands of 8: 0.75 similar; here candidates are verified.
            "near_duplicates": {"words": 5, "drop": 0.75, "cluster": 0.5},
            "pii": {"kinds": ("email", "ip")},                      # FineWeb, section 3.5
            "decontaminate": {"use": False, "evals": ()},           # .jsonl files or folders
        },
    })
