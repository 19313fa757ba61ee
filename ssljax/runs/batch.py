"""Vectors or texts for every row of a table or folder, exactly once, whatever is killed.

Rows are done in parts of fixed size; each part appears in the hidden `.<output>.work` by one
rename, and the output by another once all are there. The same command continues a job that was
killed, and its output has the same bytes as that of an uninterrupted one: a row's numbers depend on
no other row. `<output>.job.json` beside it says what made it.

Input: .jsonl or .parquet with a column of text, or of encoded images; or a folder, zip or tar of
images. Output: .jsonl or .parquet with the input's other columns, `row`, `embedding` and `error`
(null, or why the row has no embedding); completions take its place where texts are asked for
(batch_answers.py).
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.errors import DataError, UnreadableRecordError
from ssljax.core.files import sha256, sync_folder, write_json
from ssljax.media import operations
from ssljax.runs.artefact import open_artefact
from ssljax.runs.batch_answers import Answer, application, completer, requester
from ssljax.runs.batch_tables import INPUTS, OUTPUTS, Row, count_rows, read_rows, write_rows
from ssljax.serve.artefact import Artefact
from ssljax.serve.embedding import make_embed
from ssljax.serve.manifest import read_manifest
from ssljax.serve.parts import in_parts, workplace

PART, TEXTS = 1024, 64         # rows between two renames: vectors are quick, texts are not
OURS = ("row", "embedding", "error")

Report = Callable[[int, int], None]                # told rows done so far and rows of all
Prepare = Callable[[Any], np.ndarray]


class Done(NamedTuple):
    """What a job did: rows of output, those without an embedding, and whether it was new."""

    rows: int
    errors: int
    new: bool


def embed_table(artefact: str | Path, source: str | Path, output: str | Path, *, column: str = "",
                report: Report = lambda done, total: None, part: int = PART,
                trusted: Sequence[Path] = ()) -> Done:
    """Write the embedding of every row.

    Args:
        artefact: folder that `ssljax export` wrote.
        source: what to read.
        output: a .jsonl or .parquet file.
        column: of text or images; "text" or "image" unless told.
        report: told how many rows are done, of how many.
        part: rows between two renames; the output does not depend on it.
        trusted: public keys, one of which must have signed the artefact; () asks for none.

    Raises:
        ArtefactError: the artefact is damaged.
        ServeError: it has no vectors to give.
        DataError: the input cannot be read, or the output is of another job.
    """
    @contextlib.contextmanager
    def embedding() -> Iterator[Answer]:
        function = embedder(loaded)
        yield lambda rows, first: answer(rows, first, column, function)

    loaded = open_artefact(Path(artefact), trusted=trusted)
    column = column or ("text" if loaded.tokenizer else "image")
    job = {"artefact": sha256(loaded.path / "manifest.json"), "column": column, "function": "embed"}
    return write_table(job, embedding, Path(source), Path(output), report, part)


def complete_table(artefact: str | Path, source: str | Path, output: str | Path, *,
                   column: str = "prompt", report: Report = lambda done, total: None,
                   part: int = TEXTS, trusted: Sequence[Path] = (), **options: Any) -> Done:
    """Write the completion of every row's prompt, or the answers to OpenAI's batch requests.

    Args:
        artefact: folder that `ssljax export` wrote, of a decoder.
        source: rows with a column of prompts; or .jsonl of requests, with custom_id and body.
        output: a .jsonl or .parquet file; answers to requests are .jsonl.
        column: of the prompts; "body" answers requests.
        report: told how many rows are done, of how many.
        part: rows between two renames; the output does not depend on it.
        trusted: public keys, one of which must have signed the artefact; () asks for none.
        options: of every completion: max_tokens, temperature and their like.

    Raises:
        ArtefactError: the artefact is damaged.
        DataError: the input cannot be read, or the output is of another job.
    """
    @contextlib.contextmanager
    def completing() -> Iterator[Answer]:
        with application(Path(artefact), partial(open_artefact, trusted=trusted)) as app:
            yield requester(app) if column == "body" else completer(app, column, options)

    if column == "body" and Path(output).suffix != ".jsonl":
        raise DataError(f"{output}: answers to batch requests are nested; choose a .jsonl file.")
    read_manifest(Path(artefact))
    job = {"artefact": sha256(Path(artefact) / "manifest.json"), "column": column,
           "function": "complete", "options": options}
    return write_table(job, completing, Path(source), Path(output), report, part)


def write_table(job: Mapping[str, Any], answering: Callable[[], AbstractContextManager[Answer]],
                source: Path, output: Path, report: Report, part: int) -> Done:
    """Write the answers to all rows, part by part, from where an earlier process got to.

    Args:
        job: what makes the output: artefact, function, options.
        answering: entered where something is left to do; gives (rows, number of the first) -> rows.
        source: what to read.
        output: what to write.
        report: told how many rows are done, of how many.
        part: rows between two renames.

    Raises:
        DataError: the input cannot be read, or the output is of another job.
    """
    check_names(source, output)
    job = {**job, "input": content_of(source)}
    note = output.with_name(f"{output.name}.job.json")
    if (done := finished(output, note, job)) is not None:
        return done
    with workplace(output, job | {"part": part}) as folder, answering() as answers:
        paths, total = [], count_rows(source, job["column"])
        for number, rows in enumerate(in_parts(read_rows(source, job["column"]), part)):
            path = folder / f"{number:08d}{output.suffix}"
            if not path.exists():
                write_rows(path, answers(rows, number * part))
            paths.append(path)
            report(number * part + len(rows), total)
        return publish(paths, output, note, job)


def check_names(source: Path, output: Path) -> None:
    """Raise DataError unless both are of a kind that we read and write."""
    if not source.exists():
        raise DataError(f"{source} does not exist; expected {INPUTS}.")
    if output.suffix not in OUTPUTS:
        raise DataError(f'Output {output} ends in "{output.suffix}"; expected one of '
                        f"{', '.join(OUTPUTS)}.")
    if not output.parent.is_dir():
        raise DataError(f"{output.parent} is not a folder; make it, or choose another --output.")


def content_of(source: Path) -> str:
    """Return a hash of a file's content, or of the names, sizes and times of a folder's files."""
    if source.is_file():
        return sha256(source)
    listing = sorted((str(f.relative_to(source)), f.stat().st_size, f.stat().st_mtime_ns)
                     for f in source.rglob("*") if f.is_file())
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def finished(output: Path, note: Path, job: Mapping[str, Any]) -> Done | None:
    """Return what is there already, if this job made it.

    Raises:
        DataError: something else is there.
    """
    if not output.exists():
        return None
    made = json.loads(note.read_text()) if note.exists() else {}
    if made.get("job") == job and made.get("sha256") == sha256(output):
        return Done(made["rows"], made["errors"], new=False)
    raise DataError(f"{output} exists and is not what this job makes (another artefact, input or "
                    "column, or changed since); nothing was touched. Remove it, or choose another "
                    "--output.")


def embedder(artefact: Artefact) -> tuple[Prepare, Callable[[Sequence[np.ndarray]], np.ndarray]]:
    """Return how a cell becomes an example, and how examples become vectors."""
    embed = make_embed(artefact)
    if artefact.tokenizer is not None:
        return lambda text: text_ids(artefact, text), embed
    steps = artefact.manifest["preprocessing"]["image"]
    return lambda image: operations.prepare(image, steps), embed


def text_ids(artefact: Artefact, text: Any) -> np.ndarray:
    """Return a text's ids.

    Raises:
        UnreadableRecordError: it is no text, or an empty one.
    """
    if not isinstance(text, str) or not text:
        found = "an empty text" if text == "" else type(text).__name__
        raise UnreadableRecordError(f"expected a text, found {found}", reason="empty")
    return np.asarray(artefact.tokenizer.encode(text), np.int32)


def answer(rows: Sequence[Row], first: int, column: str,
           function: tuple[Prepare, Callable]) -> list[dict[str, Any]]:
    """Return the output rows of a part."""
    prepare, embed = function
    found, examples, errors = {}, [], {}
    for at, row in enumerate(rows):
        try:
            if isinstance(row.cell, UnreadableRecordError):
                raise row.cell
            examples.append(prepare(row.cell))
            found[at] = len(examples) - 1
        except (UnreadableRecordError, DataError) as err:
            errors[at] = str(err)
    vectors = embed(examples) if examples else np.empty((0, 0), np.float32)
    return [{**{k: v for k, v in row.others.items() if k not in (*OURS, column)},
             "row": first + at, "embedding": vectors[found[at]] if at in found else None,
             "error": errors.get(at)} for at, row in enumerate(rows)]


def publish(parts: Sequence[Path], output: Path, note: Path, job: Mapping[str, Any]) -> Done:
    """Join the parts into the output, by one rename, and note what made it."""
    folder = parts[0].parent
    whole = folder / f"whole{output.suffix}"
    rows, errors = OUTPUTS[output.suffix].join(parts, whole)
    write_json(note, {"job": dict(job), "sha256": sha256(whole), "rows": rows, "errors": errors})
    whole.replace(output)
    sync_folder(output.parent)
    shutil.rmtree(folder)
    return Done(rows, errors, new=True)
