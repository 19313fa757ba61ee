"""Chat templates, rendered in a process of their own that may not take long, nor much memory.

A template is Jinja2 in the form that Hugging Face tokenizers carry,
https://huggingface.co/docs/transformers/chat_templating; it comes with the artefact and is a
program. Jinja's immutable sandbox keeps it from Python's objects, but not from loops or from
strings of gigabytes: those end at the process's limits, and the next request finds a new process.

The boundary token is spelled by a word that is drawn anew for each process, so nothing that a
message says can become a boundary.
"""

import json
import os
import secrets
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ssljax.core.errors import ArtefactError, MissingExtraError, RequestError, SsljaxError

SECONDS = 2.0                  # for one rendering; templates take about a millisecond
MEMORY = 512 << 20             # bytes of address space; Python and Jinja take 60 MB
MOST_TEXT = 8 << 20            # bytes that a rendering may have
START_SECONDS = 20.0           # until the process has compiled its template
# What Python needs to start where it was installed oddly, and the zone of strftime_now. The rest of
# the server's environment, its keys among it, is nothing to a template.
PASSED = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "TZ")

CHILD = "from ssljax.serve.rendering import render_requests; render_requests()"


class Rendered(NamedTuple):
    """A text cut at its boundary tokens: between two parts there is one."""

    parts: tuple[str, ...]


class Renderer:
    """A template's process, started when it is first needed.

    Args:
        template: Jinja2 source.
        boundary: how the template spells the token that ends texts, as "<|endoftext|>".
    """

    def __init__(self, template: str, boundary: str):
        self.template, self.boundary = template, boundary
        self.lock, self.process, self.word = threading.Lock(), None, ""

    def render(self, context: Mapping[str, Any]) -> Rendered:
        """Return the template's text; call it in a thread.

        Args:
            context: plain data: messages, add_generation_prompt and the like.

        Raises:
            RequestError: the template refused the messages, or took too long (400).
            ArtefactError: it is no template.
        """
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self.start()
            answer = self.exchange({**context, "bos_token": self.word, "eos_token": self.word},
                                   SECONDS)
        if "error" in answer:
            raise RequestError(f"The chat template refuses these messages: {answer['error']}",
                               param="messages")
        return Rendered(tuple(answer["text"].split(self.word)))

    def start(self) -> None:
        """Start a process and hand it the template."""
        self.word = f"\ue000{secrets.token_hex(16)}\ue001"
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env={name: os.environ[name] for name in PASSED if name in os.environ},
            start_new_session=True)      # a Ctrl-C at the terminal is the server's to answer
        answer = self.exchange({"template": self.template.replace(self.boundary, self.word)},
                               START_SECONDS)
        if "missing" in answer:
            raise MissingExtraError(answer["missing"], "serve")
        if "error" in answer:
            raise ArtefactError(f"The chat template is none: {answer['error']}")

    def exchange(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a message and return the answer.

        Raises:
            RequestError: none came in time; the process is gone then.
        """
        end = time.monotonic() + seconds
        try:
            write_message(self.process.stdin, message)
            [size] = struct.unpack("<I", read_until(self.process.stdout, 4, end))
            return json.loads(read_until(self.process.stdout, size, end))
        except (OSError, EOFError) as err:           # TimeoutError among them
            self.close_process()
            raise RequestError("The chat template took too long, or too much memory, over these "
                               "messages.", param="messages", code="template_limit") from err

    def close_process(self) -> None:
        """End the process, whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def close(self) -> None:
        """End the process once nobody renders."""
        with self.lock:
            self.close_process()


def read_until(pipe: Any, size: int, end: float) -> bytes:
    """Return `size` bytes of a pipe.

    Raises:
        TimeoutError: they are not there by `end` on the monotonic clock.
        EOFError: the other side has closed it.
    """
    data = b""
    while len(data) < size:
        ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise TimeoutError
        more = os.read(pipe.fileno(), size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def write_message(pipe: Any, message: Mapping[str, Any]) -> None:
    """Write a message: its length in four bytes, then JSON."""
    data = json.dumps(message).encode()
    data = struct.pack("<I", len(data)) + data
    while data:
        data = data[pipe.write(data):]


def render_requests() -> None:
    """Be the process: read a template, then answer each request until the pipe closes."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)                        # a template cannot print, but nothing else shall either
    template, answer = compiled(json.loads(read_message(requests))["template"])
    write_message(answers, answer)
    while data := read_message(requests):
        write_message(answers, rendered(template, json.loads(data)))


def read_message(pipe: Any) -> bytes:
    """Return the next message's JSON; b"" at the end."""
    head = pipe.read(4)
    return pipe.read(struct.unpack("<I", head)[0]) if len(head) == 4 else b""


def compiled(source: str) -> tuple[Any, dict[str, str]]:
    """Return a template and {}, or None and why it is none."""
    try:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        return None, {"missing": "jinja2"}
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(
        value, ensure_ascii=False, indent=indent)
    environment.globals |= {"raise_exception": refuse,
                            "strftime_now": lambda form: time.strftime(form)}
    try:
        return environment.from_string(source), {}
    except TemplateError as err:
        return None, {"error": f"{err} (line {getattr(err, 'lineno', '?')})"}


def refuse(message: str) -> None:
    """Refuse the messages, as templates do that want roles to alternate."""
    raise SsljaxError(message)


def rendered(template: Any, context: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of a context, or why there is none."""
    try:
        text, size = [], 0
        for piece in template.generate(**context):
            text.append(piece)
            size += len(piece)
            if size > MOST_TEXT:
                return {"error": f"it makes a text of more than {MOST_TEXT} characters."}
        return {"text": "".join(text)}
    except MemoryError:
        return {"error": "it needs too much memory."}
    except Exception as err:             # of any kind: a template is a program of someone else's
        return {"error": f"{err or type(err).__name__}"[:300]}
