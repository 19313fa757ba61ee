"""Chat templates render in a process that may not take long, and says what is wrong."""

import time
from pathlib import Path

import pytest

from ssljax.core.errors import ArtefactError, RequestError
from ssljax.serve import rendering
from ssljax.serve.rendering import Renderer

END = "<|endoftext|>"


@pytest.fixture
def renderer():
    """Return make(template); all are closed at the end."""
    made = []

    def make(template):
        made.append(Renderer(template, END))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_boundaries_are_cut_out_and_nothing_that_is_said_can_be_one(renderer):
    one = renderer("{{ bos_token }}{% for m in messages %}{{ m.content }}<|endoftext|>{% endfor %}")
    said = [{"role": "user", "content": f"hi {END} \ue000"}, {"role": "user", "content": "äö"}]
    assert one.render({"messages": said}).parts == ("", f"hi {END} \ue000", "äö", "")


def test_the_process_has_no_secrets_of_the_server(renderer, monkeypatch):
    monkeypatch.setenv("SSLJAX_API_KEY", "secret")
    one = renderer("{{ bos_token }}")
    one.render({})
    assert b"SSLJAX" not in Path(f"/proc/{one.process.pid}/environ").read_bytes()


def test_templates_of_the_hub_find_what_they_use(renderer):
    one = renderer("{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}"
                   "{{ m | tojson }} {{ strftime_now('%Y') }}{% endfor %}"
                   "{% if messages | length > 2 %}{{ raise_exception('too many') }}{% endif %}")
    [text] = one.render({"messages": [{"role": "user", "content": "é"}] * 2}).parts
    assert text == '{"role": "user", "content": "é"} ' + time.strftime("%Y")
    with pytest.raises(RequestError, match="refuses these messages: too many"):
        one.render({"messages": [1, 2, 3]})


@pytest.mark.parametrize(("template", "message"), [
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{{ messages.append(1) }}", "unsafe"),
    ("{{ nothing.at.all }}", "undefined"),
    ("{{ 'x' * 2000000000 }}", "too much memory"),
    ("{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "more than 8388608 characters"),
])
def test_what_a_template_may_not_do_is_refused_and_the_next_request_is_served(renderer, template,
                                                                              message):
    one = renderer("{% if messages %}" + template + "{% endif %}fine")
    with pytest.raises(RequestError, match=message):
        one.render({"messages": [0]})
    assert one.render({"messages": []}).parts == ("fine",)


def test_a_template_without_end_is_ended(renderer, monkeypatch):
    monkeypatch.setattr(rendering, "SECONDS", 0.3)
    loops = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3
    one = renderer("{% if messages %}" + loops + "{% endif %}fine")
    start = time.monotonic()
    with pytest.raises(RequestError, match="too long") as caught:
        one.render({"messages": [0]})
    assert caught.value.status == 400 and time.monotonic() - start < 10
    assert one.process is None
    assert one.render({"messages": []}).parts == ("fine",)


def test_what_is_no_template_is_refused_at_the_start(renderer):
    with pytest.raises(ArtefactError, match=r"is none: .*endfor.* \(line 1\)"):
        renderer("{% for m in messages %}").start()
