"""What a model says of every row of a table or folder, exactly once, whatever is killed.

Rows are done in parts of fixed size; each part appears in the hidden `.<output>.work` by one
rename, and the output by another once all are there. The same command continues a job that was
killed, and its output has the same bytes as that of an uninterrupted one: a row's numbers depend on
no other row. `<output>.job.json` beside it says what made it.

Input: .jsonl or .parquet with a column of texts, or of images in the spellings that a request may
have; or a folder, zip or tar of images. Output: .jsonl or .parquet with the input's other columns,
`row`, the answer (batch_encoders.py, batch_answers.py) and `error`: null, or why there is none.
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

from ssljax.core.errors import DataError
from ssljax.core.files import sha256, sync_folder, write_json
from ssljax.runs import batch_answers, batch_encoders
from ssljax.runs.artefact import open_artefact
from ssljax.runs.batch_answers import Answer, application, requester, writer
from ssljax.runs.batch_encoders import encodes, function_of
from ssljax.runs.batch_tables import INPUTS, OUTPUTS, count_rows, read_rows, write_rows
from ssljax.serve.manifest import read_manifest
from ssljax.serve.parts import in_parts, workplace

# Rows between two renames: vectors are quick and small, texts are slow, vectors of tokens large.
PARTS = {"embed": 1024, "classify": 1024, "sequence": 64, "score": 64, "complete": 64}

Report = Callable[[int, int], None]                # told rows done so far and rows of all


class Done(NamedTuple):
    """What a job did: rows of output, those without an answer, and whether it was new."""

    rows: int
    errors: int
    new: bool


def encode_table(artefact: str | Path, source: str | Path, output: str | Path, *,
                 function: str = "embed", column: str = "", top: int | None = None,
                 report: Report = lambda done, total: None, part: int = 0,
                 trusted: Sequence[Path] = ()) -> Done:
    """Write what an encoder says of every row.

    Args:
        artefact: folder that `ssljax export` wrote.
        source: what to read.
        output: a .jsonl or .parquet file.
        function: "embed", "sequence" (a vector for each token or patch) or "classify".
        column: of text or images; "text" or "image" unless told.
        top: only so many classes, the most probable first; None for all in their order.
        report: told how many rows are done, of how many.
        part: rows between two renames, of PARTS unless told; the output does not depend on it.
        trusted: public keys, one of which must have signed the artefact; () asks for none.

    Raises:
        ArtefactError: the artefact is damaged.
        ServeError: it does not have that function.
        DataError: the input cannot be read, or the output is of another job.
    """
    @contextlib.contextmanager
    def encoding() -> Iterator[Answer]:
        yield encodes(function_of(loaded, function, top), column)

    loaded = open_artefact(Path(artefact), trusted=trusted)
    column = column or ("text" if loaded.tokenizer else "image")
    job = {"artefact": sha256(loaded.path / "manifest.json"), "column": column,
           "function": function, **({} if top is None else {"top": top})}
    return write_table(job, batch_encoders.COLUMNS[function], encoding, Path(source), Path(output),
                       report, part or PARTS[function])


def write_texts(artefact: str | Path, source: str | Path, output: str | Path, *,
                function: str = "complete", column: str = "",
                report: Report = lambda done, total: None, part: int = 0,
                trusted: Sequence[Path] = (), **options: Any) -> Done:
    """Write what a language model says of every row, or the answers to OpenAI's batch requests.

    Args:
        artefact: folder that `ssljax export` wrote, of a decoder.
        source: rows with a column of texts; or .jsonl of requests, with custom_id and body.
        output: a .jsonl or .parquet file; answers to requests are .jsonl.
        function: "complete", or "score": the log probability of each token.
        column: of the texts, "prompt" to complete and "text" to score unless told; "body" answers
            requests.
        report: told how many rows are done, of how many.
        part: rows between two renames, of PARTS unless told; the output does not depend on it.
        trusted: public keys, one of which must have signed the artefact; () asks for none.
        options: of every completion: max_tokens, temperature and their like.

    Raises:
        ArtefactError: the artefact is damaged.
        ServeError: it writes no text.
        DataError: the input cannot be read, or the output is of another job.
    """
    @contextlib.contextmanager
    def writing() -> Iterator[Answer]:
        with application(Path(artefact), partial(open_artefact, trusted=trusted)) as site:
            yield requester(site.app) if column == "body" else writer(site, function, column,
                                                                      options)

    column = column or {"complete": "prompt", "score": "text"}[function]
    if column == "body" and Path(output).suffix != ".jsonl":
        raise DataError(f"{output}: answers to batch requests are nested; choose a .jsonl file.")
    read_manifest(Path(artefact))
    job = {"artefact": sha256(Path(artefact) / "manifest.json"), "column": column,
           "function": function, "options": options}
    return write_table(job, batch_answers.COLUMNS[function], writing, Path(source), Path(output),
                       report, part or PARTS[function])


def write_table(job: Mapping[str, Any], ours: Sequence[str],
                answering: Callable[[], AbstractContextManager[Answer]], source: Path, output: Path,
                report: Report, part: int) -> Done:
    """Write the answers to all rows, part by part, from where an earlier process got to.

    Args:
        job: what makes the output: artefact, function, options.
        ours: names of the columns that answers add.
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
                write_rows(path, answers(rows, number * part), ours)
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
