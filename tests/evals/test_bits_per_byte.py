"""Bits per byte against sums done by hand, with models whose probabilities are known."""

import math
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.types import Model, Objective
from ssljax.evals import bits_per_byte
from ssljax.models import gpt
from ssljax.nn.partition import PARTITION
from ssljax.objectives import next_token
from ssljax.tokenizers import byte

VOCAB = 257
END = 256
TEXTS = ["to be or not to be", "", "that is the question: " * 4, "é", "a"]


@dataclass(frozen=True)
class Documents:
    """Records in memory, as `sources.token_shards` reads them from disk."""

    tokenizer_path: str
    texts: tuple[str, ...]

    def __len__(self):
        return len(self.texts)

    def lengths(self):
        return np.array([len(t.encode()) for t in self.texts], np.int64)

    def read(self, indices):
        return [{"id": np.zeros(2, np.uint32),
                 "tokens": np.frombuffer(self.texts[i].encode(), np.uint8).astype(np.int32)}
                for i in indices]

    def fingerprint(self):
        return {}


@pytest.fixture
def documents(tmp_path):
    (tmp_path / "tokenizer.json").write_text(byte.definition())

    def make(texts=TEXTS):
        return Documents(str(tmp_path / "tokenizer.json"), tuple(texts))

    return make


def table_model():
    """A model whose logits are a row of its table: it sees the last token only."""
    def apply(params, inputs, *, stats=None, cache=None, key=None, train=False):
        return {"logits": params["table"][inputs["tokens"]]}

    return Model(lambda key, inputs: ({"table": jnp.zeros((VOCAB, VOCAB))}, {}), apply)


def plain_objective():
    return Objective(None, None, None, lambda params, extra: (params, {}))


def bigram_nats(table, text):
    log_probs = jax.nn.log_softmax(table, axis=-1)
    framed = [END, *text.encode(), END]
    return -sum(float(log_probs[a, b]) for a, b in pairwise(framed))


def total_nats(result):
    return result["nats_per_target"][0] * result["targets"][0]


def judge(source, params, model=None, **options):
    options = {"seq_len": 16, "batch_size": 4} | options
    evaluator = bits_per_byte.make(plain_objective(), model=model or table_model(), source=source,
                                   **options)
    return evaluator.run(params, {})


def test_a_uniform_model_needs_log2_of_the_vocabulary_for_each_target(documents):
    result = judge(documents(), {"table": jnp.zeros((VOCAB, VOCAB))})
    size = sum(len(t.encode()) for t in TEXTS)
    targets = size + len(TEXTS)
    assert result["bits_per_byte"][0] == pytest.approx(math.log2(VOCAB) * targets / size, rel=1e-6)
    assert result["targets"][0] == targets
    assert result["bytes"][0] == size
    assert result["nats_per_target"][0] == pytest.approx(math.log(VOCAB), rel=1e-6)


@pytest.mark.parametrize(("seq_len", "overlap", "batch_size"), [
    (16, 0, 4), (16, 5, 1), (5, 4, 3), (128, 0, 2)])
def test_equals_the_sum_over_documents_for_any_windows(documents, seq_len, overlap, batch_size):
    table = jax.random.normal(jax.random.key(0), (VOCAB, VOCAB))
    result = judge(documents(), {"table": table}, seq_len=seq_len, overlap=overlap,
                   batch_size=batch_size)
    nats = sum(bigram_nats(table, t) for t in TEXTS)
    size = sum(len(t.encode()) for t in TEXTS)
    assert total_nats(result) == pytest.approx(nats, rel=1e-5)
    assert result["bits_per_byte"][0] == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    low, high = result["bits_per_byte"][1]
    assert low < result["bits_per_byte"][0] < high


def test_says_what_was_cut(documents):
    result = judge(documents(), {"table": jnp.zeros((VOCAB, VOCAB))}, seq_len=16, overlap=4)
    assert result["cut_documents"][0] == 2
    assert (result["window_targets"][0], result["window_overlap"][0]) == (16, 4)
    assert result["documents"][0] == len(TEXTS)


def test_a_fixed_random_choice_of_documents(documents):
    source = documents([f"document {i}" for i in range(50)])
    params = {"table": jnp.zeros((VOCAB, VOCAB))}
    result = judge(source, params, documents=7)
    assert result["documents"][0] == 7
    assert judge(source, params, documents=7) == result
    np.testing.assert_array_equal(bits_per_byte.choose(50, 50), np.arange(50))


@pytest.fixture(scope="module")
def network():
    model = gpt.make(vocab_size=264, width=32, depth=1, num_heads=4)
    tokens = jnp.zeros((1, 8), jnp.int32)
    inputs = {"tokens": tokens, "positions": tokens, "segment_ids": tokens}
    params, stats = jax.jit(model.init)(jax.random.key(0), inputs)
    # Larger weights, so that neighbours in a row would show if they leaked.
    return model, jax.tree.map(lambda x: 3 * x, params), {"stats": stats}


def test_documents_that_share_a_row_do_not_see_each_other(documents, network):
    model, params, extra = network
    objective = next_token.make(model)

    def nats(texts):
        evaluator = bits_per_byte.make(objective, model=model, source=documents(texts), seq_len=128,
                                       batch_size=1)
        return total_nats(evaluator.run(params, extra))

    texts = [TEXTS[0], TEXTS[2]]
    # Both fit one row of 128, so this compares packed with alone.
    assert sum(len(t.encode()) + 1 for t in texts) <= 128
    assert nats(texts) == pytest.approx(sum(nats([t]) for t in texts), rel=1e-5)


def test_more_context_changes_a_model_that_uses_it(documents, network):
    model, params, extra = network
    values = {overlap: bits_per_byte.make(
        next_token.make(model), model=model, source=documents(), seq_len=16, batch_size=2,
        overlap=overlap).run(params, extra)["nats_per_target"][0] for overlap in (0, 12)}
    assert values[0] != pytest.approx(values[12], rel=1e-6)


@pytest.mark.parametrize("axis_type", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_a_mesh_changes_nothing(documents, network, axis_type):
    model, params, extra = network
    evaluator = bits_per_byte.make(next_token.make(model), model=model, source=documents(),
                                   seq_len=16, batch_size=3)
    alone = evaluator.run(params, extra)
    mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2}, axis_type)
    spread = jax.device_put(params, sharding.shardings(mesh, PARTITION, params))
    result = evaluator.run(spread, extra)
    assert total_nats(result) == pytest.approx(total_nats(alone), rel=1e-5)


def test_a_batch_is_rounded_up_to_divide_over_the_mesh():
    mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    assert [bits_per_byte.whole_rows(mesh, n) for n in (1, 4, 6)] == [4, 4, 8]
    assert bits_per_byte.whole_rows(None, 6) == 6


def test_bad_input_is_named(documents):
    with pytest.raises(DataError, match="no document"):
        judge(documents([]), {})
    with pytest.raises(ConfigError, match="documents -1"):
        judge(documents(), {}, documents=-1)
