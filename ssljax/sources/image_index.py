"""Which files are images, and what their neighbours say of them; kept on disk. Free of jax.

    <cache>/images/<hash>/rows.npy      ROW of every image, mapped into memory
                          strings.bin   names and captions end to end, UTF-8
                          about.json    {"classes": [...], "listing": hash}

Files that share a name up to the first dot are one sample, as in WebDataset
(https://github.com/webdataset/webdataset): `cat/01.jpg` with `cat/01.cls` (a number, or the name of
a class), `cat/01.txt` (a caption) or `cat/01.json` ({"label" or "cls": ..., "text" or "caption":
...}). Where none of them has a label, the folder an image lies in is its class, by order of name.
Labels are there for every image or for none.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from ssljax.core.errors import DataError
from ssljax.core.files import write_json
from ssljax.core.rng import record_id
from ssljax.sources.image_members import Member

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
SIDECARS = ("cls", "txt", "json")
LABELS, CAPTIONS = ("label", "cls", "class"), ("text", "caption")
NO_LABEL = -1
ROW = np.dtype([("id", "<u4", 2), ("where", "<i4"), ("offset", "<i8"), ("stored", "<i8"),
                ("method", "<i2"), ("crc", "<i8"), ("label", "<i4"), ("name", "<i8"),
                ("name_bytes", "<i4"), ("text_bytes", "<i4")])

Read = Callable[[Member], bytes]


class Image(NamedTuple):
    """An image and what its sidecars say; None where they say nothing."""

    member: Member
    label: str | int | None
    text: str | None


def is_image(name: str) -> bool:
    """Say whether a file's name is an image's."""
    return name.lower().endswith(SUFFIXES)


def keys_of(name: str) -> tuple[str, str]:
    """Return a file's name without its suffix, and up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.rpartition(".")[0], folder + slash + last.partition(".")[0]


def pair(members: Sequence[Member], read: Read) -> list[Image]:
    """Return the images among files, each with its label and caption.

    Raises:
        DataError: none is an image.
    """
    beside: dict[tuple[int, str], dict[str, Member]] = {}
    for member in members:
        suffix = member.name.rpartition(".")[2].lower()
        if suffix in SIDECARS:
            beside.setdefault((member.where, keys_of(member.name)[0]), {})[suffix] = member
    images = [m for m in members if is_image(m.name)]
    if not images:
        raise DataError(f"None of {len(members)} files is an image by its suffix; expected one of "
                        f"{', '.join(SUFFIXES)}.")
    found = []
    for image in images:
        sidecars = next((beside[image.where, key] for key in keys_of(image.name)
                         if (image.where, key) in beside), {})
        found.append(Image(image, *said({s: read(m) for s, m in sidecars.items()})))
    return found


def said(sidecars: Mapping[str, bytes]) -> tuple[str | int | None, str | None]:
    """Return the label and the caption in sidecars; undecodable JSON says nothing."""
    label: Any = sidecars["cls"].decode(errors="replace").strip() if "cls" in sidecars else None
    text = sidecars["txt"].decode(errors="replace").strip() if "txt" in sidecars else None
    try:
        about = json.loads(sidecars.get("json", b"{}"))
    except ValueError:
        about = {}
    if isinstance(about, dict):
        label = label if label is not None else first_of(about, LABELS)
        text = text if text is not None else first_of(about, CAPTIONS)
    if isinstance(label, str) and label.isdecimal():
        label = int(label)
    return (label if isinstance(label, str | int) else None,
            text if isinstance(text, str) else None)


def first_of(about: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the first of `names` that a mapping has, or None."""
    return next((about[name] for name in names if about.get(name) is not None), None)


def number(labels: Sequence[str | int | None]) -> tuple[list[int], tuple[str, ...]]:
    """Return labels as numbers and the classes' names; all NO_LABEL where one is missing."""
    if any(label is None for label in labels):
        return [NO_LABEL] * len(labels), ()
    if all(isinstance(label, int) for label in labels):
        return [int(label) for label in labels], ()
    classes = sorted({str(label) for label in labels})
    numbers = {name: i for i, name in enumerate(classes)}
    return [numbers[str(label)] for label in labels], tuple(classes)


def labels_of(images: Sequence[Image]) -> list[str | int | None]:
    """Return what sidecars say or, where none says anything, the folder of each image."""
    labels = [image.label for image in images]
    if any(label is not None for label in labels):
        return labels
    folders = [image.member.name.rpartition("/")[0].rpartition("/")[2] or None for image in images]
    return folders if len(set(folders)) > 1 else [None] * len(images)


def write_index(members: Sequence[Member], read: Read, archives: Sequence[str],
                folder: Path) -> None:
    """Write rows.npy, strings.bin and about.json.

    Args:
        members: all files.
        read: content of one of them.
        archives: names of the archives where there are several; part of the ids, as two shards
            may each have a 0001.jpg.
        folder: where to write.
    """
    images = pair(members, read)
    numbers, classes = number(labels_of(images))
    rows, low, digest = np.zeros(len(images), ROW), 0, hashlib.sha256()
    with (folder / "strings.bin").open("wb") as strings:
        for row, (member, _, text), label in zip(rows, images, numbers, strict=True):
            name, caption = (s.encode(errors="surrogateescape") for s in (member.name, text or ""))
            within = [archives[member.where]] if archives else []
            full = "/".join([*within, member.name])
            row["id"] = record_id("images", full)
            for field in ("where", "offset", "stored", "method", "crc"):
                row[field] = getattr(member, field)
            row["label"], row["name"] = label, low
            row["name_bytes"] = len(name)
            row["text_bytes"] = NO_LABEL if text is None else len(caption)
            strings.write(name + caption)
            low += len(name) + len(caption)
            digest.update(json.dumps([full, member.stored, label, text]).encode())
    np.save(folder / "rows.npy", rows)
    write_json(folder / "about.json", {"classes": classes, "listing": digest.hexdigest()[:16]})
    logging.info("%d images in %d files; %s; %d with a caption.", len(images), len(members),
                 f"{len(set(numbers))} classes" if numbers[0] != NO_LABEL else "no labels",
                 int(np.sum(rows["text_bytes"] >= 0)))
