"""The byte baselines of a text run: the same held-out bytes, the same training bytes.

Reads the run's training source and the source its evaluator judges; returns plain numbers, which
do not depend on the training step and are kept under the version of the data.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from ssljax.evals import bootstrap
from ssljax.evals.baselines import ngram, unigram, xz
from ssljax.evals.bits_per_byte import choose
from ssljax.runs.compare import BASELINES
from ssljax.sources.token_shards import TokenShards
from ssljax.tokenizers import bpe

ORDER = 5
TRAIN_BYTES = 100_000_000         # n-grams of more are counted on a random choice of documents
REVISION = 2                      # of the baselines themselves; raise it when their figures change


def measure(train: TokenShards, held_out: TokenShards, *, documents: int = 0) -> dict[str, Any]:
    """Return the baselines of the held-out documents that an evaluator with `documents` judges.

    Returns:
        key: what the figures depend on; held_out_documents, held_out_bytes, train_bytes (used),
        train_bytes_available; and xz, unigram, two 5-grams: {"value", "low", "high"}, bits per byte
        and their 95 % interval over documents (a compressor of one stream has none).
    """
    judged = texts(held_out, choose(len(held_out), documents))
    learnt = texts(train, sample(train, TRAIN_BYTES))
    sizes = np.array([len(t) for t in judged], np.float64)
    logging.info("Baselines: %d training bytes, %d held-out bytes.", sum(map(len, learnt)),
                 int(sizes.sum()))

    def figure(nats: np.ndarray) -> dict[str, float]:
        value, (low, high) = bootstrap.ratio(nats / np.log(2), sizes)
        return {"value": value, "low": low, "high": high}

    packed = xz.bits_per_byte(judged)
    return {"key": key(train, held_out, documents=documents),
            "held_out_documents": len(judged), "held_out_bytes": int(sizes.sum()),
            "train_bytes": sum(map(len, learnt)), "train_bytes_available": train.text_bytes,
            "xz": {"value": packed, "low": None, "high": None},
            "unigram": figure(unigram.document_nats(learnt, judged)),
            "fivegram": figure(ngram.document_nats(learnt, judged, order=ORDER)),
            "fivegram_kneser_ney": figure(ngram.document_nats(
                learnt, judged, order=ORDER, smoothing="kneser_ney"))}


def key(train: TokenShards, held_out: TokenShards, *, documents: int) -> str:
    """Return a hash of all that the figures depend on."""
    parts = [REVISION, ORDER, TRAIN_BYTES, documents, dict(train.fingerprint()),
             dict(held_out.fingerprint())]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def sample(source: TokenShards, most_bytes: int) -> np.ndarray:
    """Return all documents, or a fixed random choice of about `most_bytes`, ascending."""
    if source.text_bytes <= most_bytes:
        return np.arange(len(source))
    return choose(len(source), max(1, len(source) * most_bytes // source.text_bytes))


def texts(source: TokenShards, indices: Sequence[int]) -> list[bytes]:
    """Return the UTF-8 bytes of documents."""
    decode = bpe.make(path=source.tokenizer_path).decode_bytes
    return [decode(record["tokens"].tolist()) for record in source.read(np.asarray(indices))]


def figures(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return baseline name -> bits per byte of what `measure` returned."""
    return {name: measured[name]["value"] for name in BASELINES}
