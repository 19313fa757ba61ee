"""Every wrong request is refused with a message that names the value and what is accepted."""

import json

import pytest

from ssljax.serve.completions import Limits, RequestError, parse_completion, read_object
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
    ({"top_p": 1.1}, "from 0 to 1"), ({"top_k": -1}, "at least 0"), ({"n": 0}, "at least 1"),
    ({"n": 17}, "17 choices"), ({"seed": -1}, "seed is -1"), ({"seed": 2**32}, "4294967295"),
    ({"stop": ""}, "not empty"), ({"stop": ["a"] * 5}, "at most 4"), ({"stop": [1]}, "a string"),
    ({"logprobs": 6}, "from 0 to 5"), ({"logprobs": True}, "logprobs is true"),
    ({"stream": 1}, "true or false"), ({"echo": "yes"}, "true or false"),
    ({"stream_options": {"x": 1}}, "include_usage"),
    ({"stream_options": {"include_usage": 2}}, "true or false"),
    ({"presence_penalty": 0.5}, "does not offer presence_penalty"), ({"best_of": 2}, "does not"),
    ({"suffix": "x"}, "does not offer suffix"), ({"logit_bias": {"5": 1}}, "does not offer"),
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
    assert job.sampling[:3] == (1.0, 0, 1.0) and job.stop == () and job.logprobs is None


def test_default_max_tokens_is_what_still_fits():
    assert parse({"prompt": "x" * 29}).jobs[0].max_tokens == 2


def test_prompts_times_n_each_have_their_seed():
    asked = parse({"prompt": ["a", [98, 99], [256, 98]], "n": 2, "seed": 2**32 - 1})
    assert [job.prompt for job in asked.jobs[::2]] == [(256, 97), (256, 98, 99), (256, 98)]
    assert [job.sampling.seed for job in asked.jobs] == [2**32 - 1, 0] * 3
    assert asked.prompt_tokens == 7 and asked.jobs[2].text == "bc"


def test_text_that_spells_the_boundary_is_text():
    [job] = parse({"prompt": "<|endoftext|>", "max_tokens": 1}).jobs
    assert job.prompt[1:] == tuple(b"<|endoftext|>")


def test_unseeded_requests_differ():
    assert len({parse({"prompt": "a"}).jobs[0].sampling.seed for _ in range(8)}) > 1


def test_judging_a_prompt_needs_no_token():
    [job] = parse({"prompt": "ab", "max_tokens": 0, "echo": True, "logprobs": 2}).jobs
    assert (job.max_tokens, job.echo, job.logprobs) == (0, True, 2)
