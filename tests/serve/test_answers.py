"""Errors are JSON whatever a client wrote; counts stand where OpenAI has them."""

import orjson

from ssljax.serve.answers import error


def test_halves_of_characters_in_a_message_are_spelt_out():
    told = error("no \ud800 here", status=400, param="a.\udfff", code="c")["error"]
    assert (told["message"], told["param"], told["code"]) == (r"no \ud800 here", r"a.\udfff", "c")
    assert orjson.loads(orjson.dumps(told)) == told
    assert error("é😀", status=500)["error"]["message"] == "é😀"
