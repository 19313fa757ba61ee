"""Rows of different adapters in one engine: each as if alone, while adapters come and go."""

import asyncio
import contextlib
import http.client
import json
import threading
from functools import partial

import jax
import numpy as np
import pytest

from ssljax.core.errors import RequestError
from ssljax.serve.adapted import load_adapter
from ssljax.serve.app import make_app
from ssljax.serve.background import serving
from ssljax.serve.device import make_device
from ssljax.serve.engine import StoppedError, start_engine
from ssljax.serve.jobs import Job, Sampling
from ssljax.serve.keys import fixed, keys_of, new_key
from ssljax.serve.loading import close_served, load_served
from ssljax.serve.opening import open_server
from ssljax.serve.switchboard import Table, base_of

SIZES = {"page": 8, "chunk": 8}
load_base = partial(load_served, slots=3, queue=10_000, sizes=SIZES)
STARTS = ["", "def f(x):\n    return", "The quick brown fox jumps", "The quick brown fox sits"]


@pytest.fixture(scope="module")
def served(base):
    served = load_base(base.artefact.path, "base")
    yield served
    close_served(served)


@pytest.fixture(scope="module")
def three(served, write_adapter):
    """Return base, and two adapters of different rank on it."""
    adapters = [load_adapter(write_adapter(seed, rank=rank), f"lora{seed}", "1", served)
                for seed, rank in ((1, 3), (2, 4))]
    yield [served, *adapters]
    for adapter in adapters:
        close_served(adapter)


def job(served, rng, **more):
    text = STARTS[rng.integers(len(STARTS))]
    ids = (served.artefact.tokenizer.end_of_text, *served.artefact.tokenizer.encode(text))
    sampling = Sampling(temperature=float(rng.choice([0.0, 0.9])), seed=int(rng.integers(2**32)))
    return Job(ids, text, int(rng.integers(1, 20)), sampling, logprobs=1, **more)


def gather(asked):
    """Return the pieces of each of (served, job), all at once."""
    pieces, ended = [[] for _ in asked], [threading.Event() for _ in asked]

    def receiver(index):
        def receive(piece):
            pieces[index].append(piece)
            if piece.finish or piece.error:
                ended[index].set()

        return receive

    for index, (served, one) in enumerate(asked):
        served.engine.submit([(one, receiver(index))])
    assert all(event.wait(60) for event in ended)
    return pieces


def scored(pieces):
    assert pieces[-1].error is None
    return [one for piece in pieces for _, one in piece.scored]


def check(served, three, write_adapter, count, rng):
    """Compare a mixture with each request alone, in an engine that has no other adapter."""
    jobs = [(which, job(served, rng, echo=bool(rng.random() < 0.1)))
            for which in rng.integers(3, size=count)]
    together = [scored(p) for p in gather([(three[which], one) for which, one in jobs])]
    alone = load_base(served.artefact.path, "alone")
    load_adapter(write_adapter(9), "other", "1", alone)          # so that places differ
    mine = None
    for which, rank in ((0, 0), (1, 3), (2, 4)):
        if which:
            mine = load_adapter(write_adapter(which, rank=rank), "mine", "1", alone)
            assert mine.fingerprint == three[which].fingerprint
        for (whose, one), got in zip(jobs, together, strict=True):
            if whose == which:
                assert scored(gather([(mine or alone, one)])[0]) == got       # to the last bit
        if mine:
            close_served(mine)
    close_served(alone)
    return jobs, together


def test_rows_with_other_adapters_beside_them_differ_in_no_bit(served, three, write_adapter):
    before = served.engine.load().pages.found
    jobs, together = check(served, three, write_adapter, 45, np.random.default_rng(0))
    assert served.engine.load().pages.found > before                 # prefixes were shared
    assert len({one.fingerprint for one in three}) == 3
    greedy = [one._replace(sampling=Sampling(temperature=0.0), max_tokens=8) for _, one in jobs[:9]]
    texts = [[[s.token for s in scored(gather([(who, one)])[0])] for one in greedy]
             for who in three]
    assert texts[0] != texts[1] != texts[2] != texts[0]              # the adapters do something


def test_what_is_decoded_with_an_adapter_is_what_scoring_the_whole_row_gives(served, three):
    score = jax.jit(served.artefact.functions["score"])
    ids = (256, *served.artefact.tokenizer.encode("The quick"))
    one = Job(ids, "", 12, Sampling(temperature=0.0), logprobs=0, ignore_eos=True)
    for place, got in enumerate(gather([(who, one) for who in three])):
        drawn = scored(got)
        row = np.array([[*ids, *(s.token for s in drawn)]], np.int32)
        logits = score(served.artefact.weights, {
            "tokens": row, "adapters": served.places.stacks(),
            "adapter": np.array([place], np.int32)})["logits"][0, len(ids) - 1:-1, :257]
        right = jax.nn.log_softmax(logits).max(axis=-1)
        np.testing.assert_allclose([s.logprob for s in drawn], right, atol=1e-4)
        assert [s.token for s in drawn] == logits.argmax(axis=-1).tolist()


@pytest.mark.slow
def test_300_rows_with_other_adapters_beside_them_differ_in_no_bit(served, three, write_adapter):
    check(served, three, write_adapter, 300, np.random.default_rng(1))


@pytest.mark.slow
@pytest.mark.parametrize("drafted", [False, True])
def test_guesses_are_judged_by_each_rows_own_adapter(drafted, base, served, three, write_adapter):
    guessing = load_served(base.artefact.path, "guess", slots=3, queue=100,
                           draft=base.artefact if drafted else None,
                           sizes=SIZES | {"guesses": 3})
    mine = [guessing, *(load_adapter(write_adapter(seed, rank=rank), "x", str(seed), guessing)
                        for seed, rank in ((1, 3), (2, 4)))]
    rng = np.random.default_rng(4)
    jobs = [(which, job(served, rng)) for which in rng.integers(3, size=24)]
    here = gather([(mine[which], one) for which, one in jobs])
    there = gather([(three[which], one) for which, one in jobs])
    close_served(guessing)
    assert [[s.token for s in scored(p)] for p in here] == [[s.token for s in scored(p)]
                                                            for p in there]


def test_a_row_without_an_adapter_is_one_of_place_zero(base, served, three):
    device = make_device(base.artefact, slots=3, **SIZES)            # all places are empty
    engine = start_engine(device, base.artefact.tokenizer, queue=9)
    rng = np.random.default_rng(3)
    empty = served._replace(engine=engine)
    for one in [job(served, rng) for _ in range(6)]:
        assert scored(gather([(empty, one)])[0]) == scored(gather([(three[0], one)])[0])
    engine.close()


def test_vectors_are_of_the_rows_own_adapter_in_any_company(three):
    texts = [np.arange(30, 30 + n, dtype=np.int32) for n in (3, 9, 60)]

    async def mixed():
        return await asyncio.gather(*(one.encoding.encode("embed", texts) for one in three))

    together = asyncio.run(mixed())
    for one, got in zip(three, together, strict=True):
        alone = asyncio.run(one.encoding.encode("embed", texts[::-1]))
        assert all((a == b).all() for a, b in zip(got, alone[::-1], strict=True))
    assert not np.allclose(together[0][0], together[1][0])
    assert len({one.encoding.fingerprint for one in three}) == 3


def test_an_adapter_that_goes_ends_its_own_rows_only(base, served, write_adapter):
    with contextlib.closing(load_base(base.artefact.path, "slow").engine) as engine:
        slow = served._replace(engine=engine)
        adapter = load_adapter(write_adapter(5), "going", "1", three_places(slow))
        rng, got, ended = np.random.default_rng(6), {0: [], 1: []}, threading.Event()
        long = job(served, rng)._replace(max_tokens=40, ignore_eos=True, prompt=(256, 65))
        adapter.engine.submit([(long, got[0].append)] * 4)           # more than slots
        slow.engine.submit([(long, lambda p: (got[1].append(p), p.finish and ended.set()))])
        close_served(adapter)
        assert ended.wait(30) and got[1][-1].error is None
        assert sum(p.error is not None or p.finish is not None for p in got[0]) == 4
        assert any("unloaded" in (p.error or "") for p in got[0])
        with pytest.raises(StoppedError):
            adapter.engine.submit([(long, got[0].append)])
        with pytest.raises(RequestError, match="unloaded"):
            asyncio.run(adapter.encoding.encode("embed", [np.arange(9)]))


def three_places(served):
    """Return `served` with places of its own, all empty."""
    from ssljax.serve.adapters import make_places

    return served._replace(places=make_places(served.artefact))


@pytest.fixture(scope="module")
def server(base, write_adapter):
    """Yield (state, ask): a server over HTTP whose base has an adapter "lora"."""
    admin, secret = new_key("ops", admin=True)
    state = open_server(load_base, keys=keys_of(fixed([admin])))
    state.models.load(base.artefact.path, "base", "1", None)
    state.models.attach(write_adapter(1), "lora", "1", None, None)

    def ask(method, path, fields=None, connection=None):
        with contextlib.ExitStack() as opened:
            connection = connection or opened.enter_context(contextlib.closing(
                http.client.HTTPConnection("127.0.0.1", port, timeout=60)))
            connection.request(method, path, None if fields is None else json.dumps(fields),
                               {"Authorization": f"Bearer {secret}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    with contextlib.closing(state.models), serving(make_app(state), gate=state.gate) as address:
        port = address.port
        yield state, ask, port


def test_an_adapter_is_a_model_of_its_own(server, write_adapter):
    _, ask, _ = server
    listed = {one["id"]: one for one in ask("GET", "/v1/models")[1]["data"]}
    assert listed["lora"]["parent"] == "base" and listed["base"]["parent"] is None
    fields = {"prompt": "hi", "max_tokens": 6, "temperature": 0}
    here, there = (ask("POST", "/v1/completions", fields | {"model": name})[1]
                   for name in ("lora", "base"))
    assert here["model"] == "lora" and here["choices"][0]["text"] != there["choices"][0]["text"]
    assert here["system_fingerprint"].startswith(there["system_fingerprint"] + "-lora")
    vectors = [ask("POST", "/v1/embeddings", {"model": name, "input": "hi"})[1]
               for name in ("lora", "base")]
    assert vectors[0]["data"][0]["embedding"] != vectors[1]["data"][0]["embedding"]
    assert vectors[0]["system_fingerprint"] != vectors[1]["system_fingerprint"]


def test_adapters_are_loaded_and_unloaded_by_administrators(server, write_adapter):
    state, ask, _ = server
    second = str(write_adapter(2))
    status, body = ask("POST", "/admin/adapters/load", {"adapter": second, "name": "b"})
    assert (status, body["base"]) == (200, "base@1")
    assert [one["name"] for one in ask("GET", "/admin/adapters")[1]["data"]] == ["lora", "b"]
    for path, fields, code in (
            ("adapters/load", {"adapter": second, "name": "b"}, 409),              # there already
            ("adapters/load", {"adapter": second, "name": "c"}, 409),              # no place
            ("adapters/load", {"adapter": "/none", "name": "c"}, 400),
            ("adapters/load", {"adapter": second, "name": "c", "base": "x"}, 404),
            ("adapters/load", {"adapter": second, "name": "c", "base": "lora"}, 404),
            ("adapters/load", {"adapter": second}, 400), ("adapters/load", {"name": "c"}, 400),
            ("adapters/load", {"adapter": second, "name": "c", "rank": 3}, 400),
            ("adapters/unload", {"name": "base"}, 404), ("adapters/unload", {"name": "c"}, 404),
            ("models/unload", {"name": "base", "version": "1"}, 409)):             # has adapters
        assert ask("POST", f"/admin/{path}", fields)[0] == code, fields
    assert ask("POST", "/admin/adapters/unload", {"name": "b"}) == (
        200, {"unloaded": True, "calls_cut_off": 0})
    assert ask("POST", "/v1/completions", {"model": "b", "prompt": "hi"})[0] == 404
    assert state.models.served()[0].places.count == 2
    assert "lora" in state.metrics.render().decode()


def swap(server, folders, calls, meanwhile):
    """Make `calls` requests while versions of an adapter take turns; return (failures, swaps)."""
    state, ask, port = server
    failures, swaps, right = [], [], {}

    def change(stopped):
        version = 1
        while not stopped():
            new = version + 1
            state.models.attach(folders[new % 2], "lora", str(new), "base", 0.0)
            state.models.split("lora", {str(new): 1})
            left = asyncio.run(state.models.unload("lora", str(version), 60))
            failures.extend([("cut off", left)] * bool(left))
            swaps.append(version)
            version = new

    def client(number):
        fields = {"model": "base" if number == 0 else "lora", "prompt": "hi", "max_tokens": 3,
                  "temperature": 0, "logprobs": 0}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            for _ in range(calls // 6):
                status, body = ask("POST", "/v1/completions", fields, connection)
                if status != 200:
                    failures.append((status, body))
                    continue
                [choice] = body["choices"]
                answer = choice["text"], tuple(choice["logprobs"]["token_logprobs"])
                if right.setdefault(body["system_fingerprint"], answer) != answer:
                    failures.append((body["system_fingerprint"], answer))

    meanwhile(change, client, 6)
    return failures, len(swaps), len(right)


def test_no_request_fails_while_adapters_swap(server, write_adapter, meanwhile):
    failures, swaps, answers = swap(server, [write_adapter(2), write_adapter(1)], 300, meanwhile)
    assert failures == [] and swaps > 2 and answers == 3      # of base and of either adapter


@pytest.mark.slow
def test_none_of_ten_thousand_requests_fails_while_adapters_swap(base, write_adapter, meanwhile):
    context = server.__wrapped__(base, write_adapter)
    try:
        failures, swaps, answers = swap(next(context), [write_adapter(2), write_adapter(1)],
                                        10_000, meanwhile)
    finally:
        next(context, None)
    assert failures == [] and swaps > 20 and answers == 3


def test_the_base_of_an_adapter_has_room_and_is_told_apart(served, three):
    plain = served._replace(name="plain", places=None)
    newer = served._replace(version="2")
    table = Table(served={(one.name, one.version): one for one in (plain, served, newer, three[1])})
    assert base_of(table, None) is base_of(table, "base") is newer
    assert base_of(table, "base@1") is served
    for name, status, words in (("plain", 400, "no room"), ("x", 404, "not served"),
                                ("lora1", 404, "not served")):           # none on an adapter
        with pytest.raises(RequestError, match=words) as refused:
            base_of(table, name)
        assert refused.value.status == status
    other = Table(served={**table.served, ("other", "1"): served._replace(name="other")})
    with pytest.raises(RequestError, match="say which is the base"):
        base_of(other, None)
    with pytest.raises(RequestError, match="export it with --adapters"):
        base_of(Table(served={("plain", "1"): plain}), None)
