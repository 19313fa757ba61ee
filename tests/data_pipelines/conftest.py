"""Small corpora of distinct, plausible prose, the same on every machine."""

import random

import pytest

from data_pipelines.table import documents

SYLLABLES = ["ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "zo"]


def prose(seed: int, words: int = 120) -> str:
    """Return sentences of made-up words; two seeds share next to no run of five words."""
    draw = random.Random(seed)
    lexicon = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(80)]
    text = [draw.choice(lexicon) for _ in range(words)]
    return "".join(" ".join(text[i:i + 12]).capitalize() + ".\n" for i in range(0, words, 12))


def edited(text: str, at: int, word: str = "changed") -> str:
    """Return `text` with one word exchanged."""
    words = text.split(" ")
    return " ".join([*words[:at], word, *words[at + 1:]])


@pytest.fixture(name="prose")
def prose_fixture():
    """Return the function from a seed and a number of words to distinct prose."""
    return prose


@pytest.fixture(name="edited")
def edited_fixture():
    """Return the function that exchanges one word of a text."""
    return edited


@pytest.fixture
def table():
    """Return a function from texts (or {source: text}) to the table of newly read documents."""
    def make(texts):
        named = texts if isinstance(texts, dict) else {f"{i}.txt": t for i, t in enumerate(texts)}
        return documents([{"source": s, "row": 0, "text": t, "licence": "unknown"}
                          for s, t in named.items()])

    return make


@pytest.fixture
def corpus(tmp_path):
    """Return a folder of 60 distinct documents, and the function that adds files to it."""
    folder = tmp_path / "corpus"

    def add(name, content):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    for i in range(60):
        add(f"part{i % 3}/{i}.txt", prose(i))
    return folder, add


@pytest.fixture
def recipe(tmp_path, corpus):
    """Return a function from changes to a small recipe over the corpus, plain data."""
    from data_pipelines.text import get_config
    from ssljax.runs.config import to_plain

    def make(**changes):
        return to_plain(get_config()) | {
            "input": str(corpus[0]), "output": str(tmp_path / "out"), "vocab_size": 300,
            "validation_fraction": 0.2, "shard_tokens": 4000} | changes

    return make
