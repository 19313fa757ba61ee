"""Every wrong request is refused with a message that names the value and what is accepted."""

import json
import random
import time

import pytest

from ssljax.core.errors import RequestError
from ssljax.serve.completions import FIELDS, parse_completion
from ssljax.serve.fields import Limits, read_object
from ssljax.serve.jobs import Sampling
from ssljax.tokenizers import byte

TOKENIZER, LIMITS = byte.make(), Limits(context=32)


def parse(fields):
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return parse_completion(read_object(body), LIMITS, TOKENIZER)


BAD = [
    (b"", "not JSON"), (b"{", "not JSON"), (b"\xff\xfe\xff", "not JSON"), (b"[1]", "an array"),
    (b"[" * 100_000, "not JSON"), (b'{"temperature": NaN}', "NaN"), (b'"x"', "a string"),
    (b"9" * 5000, "not JSON"),
    ({"promt": "a"}, 'Unknown field "promt"; did you mean "prompt"'),
    ({"\ud800": 1}, "Unknown field"),
    ({"prompt": 3}, "prompt is 3"), ({"prompt": []}, "empty list"),
    ({"prompt": [1, "a"]}, "holds 1"),
    ({"prompt": ["a", [1]], "n": 9}, "18 choices; at most 16"), ({"prompt": [[0.5]]}, "holds"),
    ({"prompt": [True]}, "holds"), ({"prompt": {"a": 1}}, "prompt is"),
    ({"prompt": [257]}, "token id 257; the model has ids 0 to 256"), ({"prompt": [-1]}, "id -1"),
    ({"prompt": "\ud800"}, "half of a pair"),
    ({"prompt": "x" * 40}, "41 tokens"), ({"prompt": "a", "max_tokens": 31}, "33 together"),
    ({"max_tokens": 10**12}, "max_tokens is 1000000000000"), ({"max_tokens": -1}, "at least 0"),
    ({"max_tokens": 0}, "max_tokens 0"), ({"max_tokens": "5"}, 'max_tokens is "5"'),
    ({"max_tokens": 2.0}, "a whole number"), ({"max_tokens": True}, "max_tokens is true"),
    ({"temperature": -0.1}, "temperature is -0.1; expected from 0 to 2"),
    (b'{"temperature": 1e999}', "temperature is Infinity"),
    ({"temperature": "hot"}, "a number from 0 to 2"),
    ({"temperature": True}, "temperature is true"),
    ({"top_p": 1.1}, "from 0 to 1"), ({"top_k": -1}, "from 0 to"), ({"top_k": 2**31}, "2147483647"),
    ({"n": 0}, "at least 1"), ({"n": 17}, "17 choices"), ({"seed": 1.5}, "seed is 1.5"),
    ({"seed": 2**63}, "to 9223372036854775807"), ({"seed": -2**63 - 1}, "-9223372036854775808 to"),
    ({"stop": ""}, "not empty"), ({"stop": ["a"] * 5}, "at most 4"), ({"stop": [1]}, "a string"),
    ({"logprobs": 21}, "from 0 to 20"), ({"logprobs": True}, "logprobs is true"),
    ({"stream": 1}, "true or false"), ({"echo": "yes"}, "true or false"),
    ({"stream_options": {"x": 1}}, "include_usage"),
    ({"stream_options": {"include_usage": 2}}, "true or false"),
    ({"presence_penalty": 2.5}, "from -2 to 2"), ({"frequency_penalty": "1"}, "a number from"),
    ({"repetition_penalty": 0}, "from 0.1 to 10"), ({"min_p": 1.5}, "min_p is 1.5"),
    ({"best_of": 2}, "does not offer best_of"), ({"suffix": "x"}, "does not offer suffix"),
    ({"logit_bias": {"257": 1}}, "token id 257; the model has ids 0 to 256"),
    ({"logit_bias": {"a": 1}}, "an object of token ids"), ({"logit_bias": {"-1": 1}}, "token ids"),
    ({"logit_bias": {"00000000005": 1}}, "an object of token ids"),
    ({"logit_bias": {"\u0665": 1}}, "an object of token ids"),
    ({"logit_bias": {"5": 101}}, "logit_bias.5 is 101; expected from -100 to 100"),
    ({"logit_bias": {"5": 1, "05": 2}}, "each token id once"), ({"logit_bias": [1]}, "an object"),
    ({"logit_bias": {str(i): 1 for i in range(301)}}, "301 ids; expected at most 300"),
    ({"stop_token_ids": [300]}, "token id 300"), ({"stop_token_ids": "a"}, "a whole number"),
    ({"ignore_eos": 1}, "true or false"), ({"max_wait": -1}, "from 0 to 86400"),
    ({"response_format": "json"}, '"json_object" or "json_schema"'),
    ({"response_format": {"type": "json_schema"}}, 'an object with "schema"'),
    ({"response_format": {"type": "text", "strict": True}}, 'an object with "type"'),
    ({"structured_outputs": {"regex": "("}}, "unclosed group"),
    ({"structured_outputs": {"json": {}, "regex": "a"}}, "one of json, json_object"),
    ({"structured_outputs": {"regex": "a" * 40000}}, "40000 characters; expected at most 32768"),
    ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
     "two grammars"),
    ({"structured_outputs": {"regex": "a"}, "ignore_eos": True}, "ignore_eos would go on"),
    ({"user": 5}, "user is 5"),
]


@pytest.mark.parametrize("fields, message", BAD)
def test_wrong_requests_are_refused_by_name(fields, message):
    with pytest.raises(RequestError) as caught:
        parse(fields)
    assert message in str(caught.value) and len(str(caught.value)) < 400
    assert caught.value.status == 400


def test_defaults_are_those_of_openai_and_null_means_default():
    [job] = parse({"prompt": "ab", "stop": None, "temperature": None, "model": "tiny"}).jobs
    assert job.prompt == (256, 97, 98) and job.max_tokens == 16
    assert job.sampling == Sampling(seed=job.sampling.seed) and job.logprobs is None
    assert (job.stop, job.stop_ids, job.ignore_eos, job.grammar) == ((), (), False, None)
    assert (job.caller, job.deadline) == ("", None)


def test_default_max_tokens_is_what_still_fits():
    assert parse({"prompt": "x" * 29}).jobs[0].max_tokens == 2


def test_prompts_times_n_each_have_their_seed():
    asked = parse({"prompt": ["a", [98, 99], [256, 98]], "n": 2, "seed": 2**32 - 1})
    assert [job.prompt for job in asked.jobs[::2]] == [(256, 97), (256, 98, 99), (256, 98)]
    assert [job.sampling.seed for job in asked.jobs] == [2**32 - 1, 0] * 3
    assert asked.prompt_tokens == 7 and asked.jobs[2].text == "bc"


def test_prompts_and_choices_of_a_request_without_a_seed_all_draw_by_another():
    asked = parse({"prompt": ["a", "a", "b"], "n": 2})
    first = asked.jobs[0].sampling.seed
    assert [job.sampling.seed for job in asked.jobs] == [(first + i) % 2**32 for i in range(6)]


def test_a_seed_may_be_any_of_64_bits_and_those_of_32_are_what_they_were():
    def seed_of(seed):
        return parse({"prompt": "a", "seed": seed}).jobs[0].sampling.seed

    wide = [-1, -2**63, 2**63 - 1, 2**32, 2**32 + 1]
    assert [seed_of(seed) for seed in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]
    assert [seed_of(seed) for seed in wide] == [seed_of(seed) for seed in wide]
    assert len({*map(seed_of, wide), 0, 1}) == 7 and all(0 <= seed_of(s) < 2**32 for s in wide)


def test_text_that_spells_the_boundary_is_text():
    [job] = parse({"prompt": "<|endoftext|>", "max_tokens": 1}).jobs
    assert job.prompt[1:] == tuple(b"<|endoftext|>")


def test_unseeded_requests_differ():
    assert len({parse({"prompt": "a"}).jobs[0].sampling.seed for _ in range(8)}) > 1


def test_judging_a_prompt_needs_no_token():
    [job] = parse({"prompt": "ab", "max_tokens": 0, "echo": True, "logprobs": 2}).jobs
    assert (job.max_tokens, job.echo, job.logprobs) == (0, True, 2)


def test_every_setting_reaches_the_job():
    before = time.monotonic()
    asked = parse({
        "prompt": "a", "temperature": 0.5, "top_k": 3, "top_p": 0.25, "min_p": 0.125, "seed": 9,
        "presence_penalty": -1.5, "frequency_penalty": 0.75, "repetition_penalty": 1.5,
        "logit_bias": {"7": -100, "256": 2}, "stop": ["x", "y"], "stop_token_ids": [10, 11],
        "ignore_eos": True, "max_wait": 60, "logprobs": 20, "response_format": {"type": "text"}})
    [job] = asked.jobs
    assert job.sampling == Sampling(
        temperature=0.5, top_k=3, top_p=0.25, min_p=0.125, seed=9, presence=-1.5, frequency=0.75,
        repetition=1.5, bias=((7, -100.0), (256, 2.0)))
    assert (job.stop, job.stop_ids, job.ignore_eos) == (("x", "y"), (10, 11), True)
    assert before + 60 <= job.deadline <= time.monotonic() + 60 and job.grammar is None


ODD = [None, True, False, 0, 1, -1, 3, 2**31, 2**64, 0.5, -0.0, 1e308, "", "a", "\ud800", "5", [],
       [[]], [1], ["a", "b"], [None], {}, {"5": 1}, {"type": "json_object"}, {"regex": "a*"},
       {"type": "json_schema", "json_schema": {"schema": {"type": []}}}, {"choice": ["x", 1]},
       {"include_usage": True}, {"json": {}},
       {"json": '{"type": "null"}'}, {"grammar": "start: \\"}]


def test_whatever_a_field_holds_the_answer_is_a_job_or_a_refusal():
    chance, read = random.Random(0), 0
    for _ in range(3000):
        names = chance.sample([*FIELDS, "odd"], chance.randint(1, 3))
        try:
            asked = parse({name: chance.choice(ODD) for name in names})
            read += len(asked.jobs)
        except RequestError as err:
            assert err.status == 400 and str(err)
    assert read > 100


@pytest.mark.parametrize("depth", (930, 970, 985, 995))
def test_what_is_nested_too_deeply_is_refused(depth):
    deep = b'{"items":' * depth + b"{}" + b"}" * depth
    for body in (b'{"stop":' + b"[" * depth + b"]" * depth + b"}",
                 b'{"structured_outputs": {"json": ' + deep + b"}}"):
        with pytest.raises(RequestError) as caught:
            parse(body)
        assert caught.value.status == 400
