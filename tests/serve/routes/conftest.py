"""A server with a model that reads and writes text, one that converses, and one that sees."""

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, NamedTuple

import httpx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ssljax.export.artefact import sealed, write_artefact
from ssljax.export.contents import encoder_contents
from ssljax.models import vit
from ssljax.pretext.image import image_format
from ssljax.serve.app import make_app
from ssljax.serve.artefact import Artefact
from ssljax.serve.background import serving
from ssljax.serve.jobs_folder import Jobs, open_jobs
from ssljax.serve.loading import load_served
from ssljax.serve.opening import open_server
from ssljax.serve.served import Served

TEMPLATE = """\
{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}
{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""
CLASSES = ("cat", "dog", "owl")
SIZE = 8


class Site(NamedTuple):
    """A server: its application and URL, a client of it, and artefacts and models by name."""

    app: Any
    url: str
    client: httpx.Client
    artefacts: dict[str, Artefact]
    served: dict[str, Served]


@pytest.fixture(scope="session")
def talker_path(artefact_path, tmp_path_factory):
    """Return the tiny artefact with a chat template."""
    path = tmp_path_factory.mktemp("artefact") / "talker"
    shutil.copytree(artefact_path, path)
    manifest = json.loads((path / "manifest.json").read_text())
    about = {key: value for key, value in manifest.items() if key not in ("abi", "written",
                                                                          "files", "sha256")}
    (path / "manifest.json").unlink()
    (path / "chat_template.jinja").write_text(TEMPLATE)
    about |= {"name": "talker", "chat": {"template": "chat_template.jinja", "stop": ["<|"]}}
    (path / "manifest.json").write_text(json.dumps(sealed(about, path)))
    return path


@pytest.fixture(scope="session")
def eyes_path(tmp_path_factory):
    """Return an image classifier of random weights."""
    model = vit.make(image_size=SIZE, channels=3, width=16, depth=1, num_heads=2, patch_size=4)
    params, _ = jax.jit(model.init)(jax.random.key(0), {"image": jnp.zeros((1, SIZE, SIZE, 3))})
    draw = np.random.default_rng(0)
    head = {"w": draw.normal(size=(16, 3)).astype(np.float32), "b": np.zeros(3, np.float32)}
    plain = image_format(16, SIZE, 3, (0.5,), (0.25,)).plain
    contents = encoder_contents(
        model, {"params": jax.device_get(params), "head": head},
        {"name": "eyes", "functions": {"classify": {"labels": list(CLASSES)}}},
        image=(SIZE, SIZE, 3), preprocessing=plain.inputs, documents=lambda about: {})
    path = tmp_path_factory.mktemp("artefact") / "eyes"
    write_artefact(path, contents)
    return path


@pytest.fixture(scope="session")
def site(talker_path, eyes_path, tmp_path_factory) -> Iterator[Site]:
    """Serve them on a free loopback port; "tiny" is the talker without its template."""
    talker = load_served(talker_path, slots=3, queue=20)
    loaded = {"talker": talker, "eyes": load_served(eyes_path, slots=1, queue=1),
              "tiny": talker._replace(name="tiny", turns=None)}     # one engine: it was dear
    jobs = Jobs(open_jobs(tmp_path_factory.mktemp("jobs")), SimpleQueue())
    state = open_server(lambda path, name, version: loaded[name], jobs=jobs)
    for name in loaded:
        state.models.load(talker_path, name, "1", None)
    app = make_app(state)
    with (contextlib.closing(state.models), serving(app) as address,
          httpx.Client(base_url=address.url, timeout=60) as client):
        yield Site(app, address.url, client, {name: one.artefact for name, one in loaded.items()},
                   loaded)


@pytest.fixture(scope="session")
def ask(site) -> Any:
    """Return ask(path, fields) -> the answer's JSON; it must be a 200."""
    def send(path: str, fields: dict[str, Any]) -> Any:
        answer = site.client.post(path, json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return send


@pytest.fixture(scope="session")
def refused(site) -> Any:
    """Return refused(path, fields, status) -> the message of the error object."""
    def send(path: str, fields: Any, status: int = 400) -> str:
        answer = site.client.post(path, content=json.dumps(fields))
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        return error if isinstance(error, str) else error["message"]

    return send


@pytest.fixture(scope="session")
def png() -> bytes:
    """Return a picture file of 20 by 30 pixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
