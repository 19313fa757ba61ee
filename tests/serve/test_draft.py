"""A draft model changes how many tokens come at once, and nothing else."""

import contextlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.cli.main import main
from ssljax.core.errors import ArtefactError, ServeError
from ssljax.export import stablehlo
from ssljax.models import gpt
from ssljax.nn.stack import unstacked
from ssljax.serve.adapters import make_places
from ssljax.serve.artefact import Artefact
from ssljax.serve.device import device_of, new_turn
from ssljax.serve.draft import Caches, with_draft
from ssljax.serve.engine import start_engine
from ssljax.serve.jobs import Job, Sampling
from ssljax.serve.loading import close_served, load_served
from ssljax.serve.metrics import make_metrics
from ssljax.serve.rows import write_row, write_token

PROMPTS = ["a", "hello world", "x" * 20, "def f(x):\n    return", "", "Zwölf Boxkämpfer"]


@pytest.fixture(scope="module")
def itself(guessing, artefact):
    """Return the device with the model as its own draft."""
    return with_draft(guessing, artefact, artefact)


@pytest.fixture(scope="module")
def small(artefact):
    """Return another network: narrower, with learned positions that end at half of the context."""
    model, context = gpt.make(vocab_size=260, width=16, depth=1, num_heads=2, positions="learned",
                              context=24), 24
    params, _ = jax.jit(model.init)(jax.random.key(5), {"tokens": jnp.zeros((1, 4), jnp.int32)})
    weights = {"params": unstacked(jax.device_get(params))}
    cache = stablehlo.describe(stablehlo.cache_spec(model, weights, jax.export.symbolic_shape(
        "m, p")))
    functions = {name: getattr(stablehlo, name)(model)
                 for name in ("prefill", "decode", "verify", "score")}
    return Artefact(Path("small"), {
        "kind": "decoder", "max_context": context, "files": {}, "functions": {
            "decode": {"inputs": {f"cache/{name}": spec for name, spec in cache.items()}}},
    }, jax.device_put(weights), functions, artefact.tokenizer)


def answers(device, artefact, jobs, gather):
    """Return what an engine answers, how many tokens were guessed and how many came true."""
    counts = []
    with contextlib.closing(start_engine(
            device, artefact.tokenizer, queue=99,
            guessed=lambda guesses, true: counts.append((guesses, true)))) as engine:
        got = gather(engine, jobs)
        assert all(pieces[-1].error is None for pieces in got)
        found = engine.load().pages.found
    streams = [[scored for piece in pieces for _, scored in piece.scored] for pieces in got]
    return streams, tuple(np.sum(counts, axis=0).tolist()), found


def jobs_of(ask, *samplings):
    return [ask(prompt, 14, sampling=sampling, logprobs=1)
            for prompt in PROMPTS for sampling in samplings]


def test_a_draft_that_is_the_model_is_always_right(guessing, itself, artefact, ask, gather):
    jobs = jobs_of(ask, Sampling(temperature=0.0), Sampling(0.9, 50, 0.95, 7),
                       Sampling(1.0, seed=3, frequency=0.5, repetition=1.2))
    right, (_, looked_up), _ = answers(guessing, artefact, jobs, gather)
    here, (guesses, true), found = answers(itself, artefact, jobs, gather)
    assert here == right and guesses == true > 2 * looked_up
    assert found > 0                         # chunks were read once, of both


def test_a_draft_that_is_useless_answers_the_same(guessing, artefact, small, ask, gather):
    """It also reads less than the model does: beyond, nothing is guessed."""
    jobs = [*jobs_of(ask, Sampling(temperature=0.0)), ask("y" * 30, 14, logprobs=1)]
    drafted = with_draft(guessing, artefact, small)
    right, *_ = answers(guessing, artefact, jobs, gather)
    here, (guesses, true), _ = answers(drafted, artefact, jobs, gather)
    assert here == right
    assert true < guesses / 10 and guesses > 50
    assert answers(drafted, artefact, jobs[-1:], gather)[1] == (0, 0)
    [stream], (guesses, _), _ = answers(drafted, artefact, [ask("z" * 20, 20, logprobs=1)], gather)
    assert 0 < guesses < 3 * 4 and len(stream) > 10        # positions 21, 22 and 23 are the last


def test_what_rejected_guesses_wrote_leaves_no_trace(guessing, artefact, blurred):
    """The draft's cache has the bits of one that was never given a wrong token."""
    draft, rng, layout = blurred(0.3), np.random.default_rng(0), guessing.layout
    drafted = with_draft(guessing, artefact, draft)
    alone = device_of(draft, layout._replace(guesses=0, steps=4), make_places(draft))
    cache, clean = drafted.new_cache(), alone.new_cache()
    prompts = [tuple(rng.integers(1, 200, n).tolist()) for n in (5, 7, 3)]
    turns = [new_turn(device.new_rows(), layout) for device in (drafted, alone)]
    tables = np.zeros((3, layout.table), np.int32)
    tables[:, :3] = 1 + np.arange(9).reshape(3, 3)                     # all pages, 24 tokens a row
    for slot, prompt in enumerate(prompts):
        cache, _ = drafted.read(cache, prompt, 0, tables[slot])
        clean, _ = alone.read(clean, prompt, 0, tables[slot])
        for turn in turns:
            write_row(turn.rows, slot, drafted.make_row(Job(prompt, "", 30, Sampling(0.0))))
            write_token(turn.rows, slot, 7)
            turn.table[slot], turn.left[slot] = tables[slot], 30
    texts, kept = [[] for _ in prompts], 0
    for _ in range(4):
        cache, guesses, guessed = drafted.propose(cache, turns[0], np.full(3, 3, np.int32))
        assert guessed.tolist() == [3, 3, 3]
        for slot, right in enumerate(rng.integers(0, 4, 3)):        # as if so many came true
            came = [*guesses[slot, :right].tolist(), int(rng.integers(1, 200))]
            texts[slot] += came
            kept += right
            for token in came:
                write_token(turns[0].rows, slot, token)
    assert 0 < kept < 3 * 3 * 4
    for step in range(max(map(len, texts))):
        left = np.array([step < len(text) for text in texts], np.int32)
        clean, _ = alone.decode(clean, turns[1]._replace(left=left), 1)
        for slot in np.flatnonzero(left):
            write_token(turns[1].rows, slot, texts[slot][step])
    for slot, prompt in enumerate(prompts):
        length = len(prompt) + len(texts[slot])            # what was read: all but the last token
        for a, b in zip(written(cache.draft, tables[slot], length),
                        written(clean, tables[slot], length), strict=True):
            np.testing.assert_array_equal(a, b)


def written(cache, table, length):
    """Return keys and values of the first `length` tokens of a row, layer by layer."""
    for store in cache.values():
        k, v = (np.asarray(store[name])[table] for name in ("k", "v"))
        yield np.moveaxis(k, 3, 1).reshape(-1, *k.shape[1:3])[:length]
        yield np.moveaxis(v, 2, 1).reshape(-1, v.shape[1], v.shape[3])[:length]


def test_guesses_end_with_the_text(itself, guessing, artefact, ask, gather):
    """A draft that goes on after an end token would count guesses that nobody judges."""
    long, *_ = answers(guessing, artefact, [ask("hello", 30, logprobs=1, ignore_eos=True)], gather)
    tokens = [scored.token for scored in long[0]]
    ids = (tokens[5],)
    job = ask("hello", 30, logprobs=1, stop_ids=ids, ignore_eos=True)
    [stream], (guesses, true), _ = answers(itself, artefact, [job], gather)
    assert guesses == true <= tokens.index(tokens[5])


def test_a_failing_draft_ends_requests_and_the_engine_goes_on(itself, artefact, ask, gather):
    calls = []

    def propose(*given):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("RESOURCE_EXHAUSTED")
        return itself.propose(*given)

    with contextlib.closing(start_engine(itself._replace(propose=propose), artefact.tokenizer,
                                         queue=9)) as engine:
        [failed] = gather(engine, [ask("hello", 30, ignore_eos=True)])
        assert "device failed (RuntimeError)" in failed[-1].error
        [good] = gather(engine, [ask("hello", 30, ignore_eos=True)])
        assert good[-1].finish == "length" and isinstance(itself.new_cache(), Caches)


def test_what_cannot_draft_is_refused_by_name(device, guessing, artefact, small):
    other = artefact.tokenizer._replace(fingerprint="f" * 64)
    with pytest.raises(ArtefactError, match=r"small cannot draft for .*tiny: .* 257 ids.*ffffff"):
        with_draft(guessing, artefact._replace(tokenizer=other), small)
    larger = artefact.tokenizer._replace(vocab_size=300)
    with pytest.raises(ArtefactError, match="tokenizer has 300 ids"):
        with_draft(guessing, artefact, small._replace(tokenizer=larger))
    with pytest.raises(ServeError, match="small is to draft for .*tiny, which takes 0 guesses"):
        with_draft(device, artefact, small)
    encoder = small._replace(manifest={"kind": "encoder"}, tokenizer=None)
    with pytest.raises(ServeError, match="small is an encoder"):
        with_draft(guessing, artefact, encoder)


@pytest.mark.slow
def test_a_server_counts_what_was_drafted(artefact_path, artefact, ask, gather):
    metrics = make_metrics()
    served = load_served(artefact_path, slots=3, queue=9, draft=artefact, metrics=metrics,
                         sizes={"page": 8, "chunk": 16, "guesses": 3})
    gather(served.engine, [ask("hello", 20, ignore_eos=True)])
    close_served(served)
    text = metrics.render().decode().splitlines()
    figures = dict(line.rsplit(" ", 1) for line in text if not line.startswith("#"))
    name = '{model="tiny",version="1"}'
    guessed = float(figures[f"ssljax_guessed_tokens_total{name}"])
    assert guessed == float(figures[f"ssljax_accepted_tokens_total{name}"]) == 14
    assert float(figures['vllm:spec_decode_num_draft_tokens_total{model_name="tiny",version="1"}'
                         ]) == guessed


def test_the_verb_hands_the_draft_over_and_wants_guesses(monkeypatch, tmp_path, capsys):
    assert main(["serve", str(tmp_path), "--draft", "small", "--port", "0"]) == 1
    assert "--guesses" in capsys.readouterr().err
    from ssljax.runs import serve as module
    seen = {}
    monkeypatch.setattr(module, "serve", lambda artefact, **options: seen.update(options))
    assert main(["serve", str(tmp_path), "--draft", "small", "--guesses", "4"]) == 0
    assert seen["draft"] == Path("small") and seen["sizes"]["guesses"] == 4
