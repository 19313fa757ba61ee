"""Exact bits per byte of held-out text: what a language model needs to write it down.

Total nats of all targets (every token and the end of every document) / ln 2 / UTF-8 bytes of the
documents. Unlike the loss per token it does not depend on the tokenizer, so models and compressors
compare (Gao et al. 2020, "The Pile", https://arxiv.org/abs/2101.00027, section 3.1). Documents
longer than a row are cut into windows as `evals.windows` says; the result says how many were.
Reads records with "tokens"; returns {name: (value, 95 % interval over documents)}.
"""

import math

import jax
import numpy as np

from ssljax.core.errors import ConfigError, DataError
from ssljax.core.sharding import BATCH, mesh_of, place_whole, shard, use_mesh
from ssljax.core.types import Batch, Evaluator, Judgement, Model, Objective, Params, PyTree
from ssljax.evals import bootstrap
from ssljax.evals.windows import batches, cut, pack
from ssljax.nn.loss import cross_entropy
from ssljax.sources.token_shards import TokenShards
from ssljax.tokenizers import bpe

INPUTS = ("tokens", "positions", "segment_ids")
SEED = 0                                       # of the choice of documents


def make(objective: Objective, *, model: Model, source: TokenShards, seq_len: int,
         batch_size: int = 16, every: int = 0, overlap: int = 0, documents: int = 0) -> Evaluator:
    """Return the evaluator of a language model on every document of `source`.

    Args:
        objective: says which parameters the method evaluates with.
        model: a decoder; reads tokens, positions and segment_ids, returns logits [B, L, V].
        source: held-out documents with their tokenizer.
        seq_len: L, targets in a row; as in training unless longer contexts are to be judged.
        batch_size: B, rows judged at once, rounded up to divide over the mesh; logits take
            B * L * V floats.
        every: steps between judgements during training; 0 means only when asked.
        overlap: targets of context that later windows of a long document repeat, not counted
            again; 0 is fastest and pays for contexts that start at the cut.
        documents: judge a fixed random choice of so many documents; 0 means all.

    Raises:
        ConfigError: overlap or documents cannot work.
        DataError: the source is empty.
    """
    chosen = choose(len(source), documents)
    tokenizer = bpe.make(path=source.tokenizer_path)
    edge = np.array([tokenizer.end_of_text], np.int32)
    windows = cut(source.lengths()[chosen], seq_len=seq_len, overlap=overlap)
    rows = pack(windows, seq_len=seq_len)
    facts = {"documents": len(chosen),
             "cut_documents": len({w.document for w in windows if w.fresh}),
             "targets": sum(w.stop - w.fresh for w in windows), "window_targets": seq_len,
             "window_overlap": overlap}

    @jax.jit
    def target_nats(params: Params, extra: PyTree, batch: Batch) -> jax.Array:
        weights, stats = objective.encoder(params, extra)
        outputs = model.apply(weights, {n: batch[n] for n in INPUTS}, stats=stats)
        # Whole on every device, so that every process can read all of it.
        return shard(cross_entropy(outputs["logits"], batch["targets"]), None, None)

    def run(params: Params, extra: PyTree) -> Judgement:
        mesh = mesh_of(params)
        records = source.read(chosen)
        framed = [np.concatenate([edge, record["tokens"], edge]) for record in records]
        sizes = [len(tokenizer.decode_bytes(record["tokens"].tolist())) for record in records]
        nats = np.zeros(len(chosen))
        with use_mesh(mesh):
            for batch in batches(rows, framed, seq_len=seq_len,
                                 batch_size=whole_rows(mesh, batch_size)):
                document = batch.pop("document")
                values = np.asarray(target_nats(params, extra, place_whole(mesh, batch)))
                counted = document >= 0
                nats += np.bincount(document[counted], values[counted].astype(np.float64),
                                    minlength=len(nats))
        return summary(nats, np.array(sizes, np.float64), facts)

    return Evaluator(every, run)


def choose(available: int, wanted: int) -> np.ndarray:
    """Return the documents to judge, int64, ascending: all for 0, else a fixed random choice.

    Raises:
        ConfigError: `wanted` is negative.
        DataError: there is no document.
    """
    if wanted < 0:
        raise ConfigError(f"documents {wanted}: expected 0 for all, or how many to judge.")
    if not available:
        raise DataError("The held-out split has no document to judge; curate more text or raise "
                        "the held-out fraction.")
    order = np.random.default_rng(SEED).permutation(available)
    return np.sort(order[:wanted or available])


def whole_rows(mesh: jax.sharding.Mesh | None, batch_size: int) -> int:
    """Return the batch size rounded up to rows that divide over the mesh."""
    ways = 1 if mesh is None else math.prod(mesh.shape[axis] for axis in BATCH)
    return -(-batch_size // ways) * ways


def summary(nats: np.ndarray, sizes: np.ndarray, facts: dict[str, int]) -> Judgement:
    """Return bits per byte with its interval, and exactly known figures as their own interval."""
    bits, (low, high) = bootstrap.ratio(nats / np.log(2), sizes)
    exact = {name: float(value) for name, value in facts.items()}
    exact |= {"bytes": float(sizes.sum()), "nats_per_target": float(nats.sum() / facts["targets"])}
    return {"bits_per_byte": (bits, (low, high)),
            **{name: (value, (value, value)) for name, value in exact.items()}}
