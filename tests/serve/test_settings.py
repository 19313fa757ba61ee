"""Every setting of a request works in the engine, beside neighbours with other settings."""

import json
import time

import jsonschema
import pytest

from ssljax.serve.engine import start_engine
from ssljax.serve.grammars import Wanted, grammar_of
from ssljax.serve.jobs import Sampling

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99},
                                           "b": {"enum": ["x", "yes"]}},
          "required": ["a", "b"], "additionalProperties": False}


@pytest.fixture(scope="module")
def grammar():
    return grammar_of(Wanted("json", SCHEMA, "schema"))


def ids(pieces):
    return [scored.token for piece in pieces for _, scored in piece.scored]


def text(pieces):
    return "".join(piece.text for piece in pieces)


def settings(ask, grammar):
    """Return one job for each setting."""
    drawn = Sampling(0.9, seed=3)
    return [
        ask("hello", 12, logprobs=2), ask("hello", 12, sampling=drawn, logprobs=0),
        ask("hello", 12, sampling=drawn._replace(min_p=0.2), logprobs=0),
        ask("hello", 12, sampling=Sampling(0.0, presence=1.5, frequency=0.7), logprobs=0),
        ask("hello", 12, sampling=drawn._replace(repetition=1.5, top_p=0.8), logprobs=0),
        ask("hello", 12, sampling=drawn._replace(bias=((101, 9.0), (32, -100.0))), logprobs=0),
        ask("hello", 40, sampling=drawn, grammar=grammar, logprobs=0),
        ask("hello", 40, grammar=grammar, logprobs=0)]


def test_answers_are_bit_for_bit_those_of_a_lone_request(engine, ask, gather, grammar):
    jobs = settings(ask, grammar)
    alone = [gather(engine, [job])[0] for job in jobs]
    for turn in range(0, len(jobs), 3):
        order = jobs[turn:] + jobs[:turn]
        together = gather(engine, order[:7])
        assert together == (alone[turn:] + alone[:turn])[:7]
    assert len({text(pieces) for pieces in alone}) == len(jobs)


def test_structured_text_validates_or_was_cut(engine, ask, gather, grammar):
    brief = tuple((ord(blank), -100.0) for blank in " \n\r\t")
    jobs = [ask("q", 40, sampling=Sampling(1.0, seed=seed, bias=brief), grammar=grammar)
            for seed in range(7)]
    answers = gather(engine, jobs)
    whole = [pieces for pieces in answers if pieces[-1].finish == "stop"]
    for pieces in whole:
        jsonschema.validate(json.loads(text(pieces)), SCHEMA)
    assert len(whole) >= 4 and all(p[-1].finish in ("stop", "length") for p in answers)


def test_penalties_and_bias_reach_the_draw(engine, ask, gather):
    plain, once, banned = gather(engine, [
        ask("hello", 30, logprobs=0),
        ask("hello", 30, sampling=Sampling(0.0, presence=100.0), logprobs=0, ignore_eos=True),
        ask("hello", 30, sampling=Sampling(0.0, bias=((120, 100.0),)), logprobs=0)])
    assert len(set(ids(plain))) < len(ids(plain))
    assert len(set(ids(once))) == len(ids(once)) == 30
    assert text(banned) == "x" * 30


def test_stop_ids_end_and_ignored_ends_do_not(engine, ask, gather, artefact):
    end = artefact.tokenizer.end_of_text
    to_end = Sampling(0.0, bias=((end, 100.0),))
    [told] = gather(engine, [ask("ab", 9, sampling=to_end)])
    [deaf] = gather(engine, [ask("ab", 9, sampling=to_end, ignore_eos=True, logprobs=0)])
    assert (told[-1].finish, told[-1].tokens) == ("stop", 1)
    assert (deaf[-1].finish, deaf[-1].tokens, ids(deaf)) == ("length", 9, [end] * 9)
    plain = ids(gather(engine, [ask("hello", 12, logprobs=0)])[0])
    stop = plain[5]
    [pieces] = gather(engine, [ask("hello", 12, logprobs=0, stop_ids=(stop,))])
    assert ids(pieces) == plain[:plain.index(stop)] and pieces[-1].finish == "stop"


def test_who_waits_past_his_deadline_is_told_why(device, artefact, ask, gather):
    engine = start_engine(device, artefact.tokenizer, queue=9)
    try:
        busy = [ask("a", 40, ignore_eos=True) for _ in range(device.layout.slots)]
        late = ask("b", 5, deadline=time.monotonic() - 1, caller="late")
        *served, told = gather(engine, [*busy, late])
    finally:
        engine.close()
    assert all(pieces[-1].finish == "length" for pieces in served)
    assert (told[-1].status, told[-1].code) == (503, "deadline_exceeded")
