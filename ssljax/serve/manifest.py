"""The manifest of an artefact, and every file held against it before anything is parsed.

Reads manifest.json of a folder that `ssljax export` wrote and, where keys are trusted, its
signature; returns plain data. What an artefact names is taken by plain file name from its own
folder, must be listed with size and checksum, and must be of a kind that cannot hold code to run at
reading: safetensors, JSON, serialised programs. Free of jax.
"""

import hashlib
import json
import stat
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ssljax.core.errors import ArtefactError
from ssljax.core.files import sha256
from ssljax.core.signature import is_signed_by

ABIS = (2,)
MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
LARGEST = 16 * 2**20              # bytes of a manifest or signature that are read at most
EXPORT_AGAIN = "copy the artefact again, or export the run again."
READERS = 4                       # files hashed at once; one thread reads about 1.5 GB a second

# What every manifest has, and of which type; whatever else it says is its reader's to check.
FIELDS: Mapping[str, type] = {"kind": str, "name": str, "written": str, "jax": dict,
                              "functions": dict, "weights": dict, "golden": str, "files": dict}


def read_manifest(path: Path, *, trusted: Sequence[Path] = ()) -> dict[str, Any]:
    """Return manifest.json of the folder `path`, whole, of a known ABI and by a trusted key.

    Args:
        path: the artefact.
        trusted: PEM files of public Ed25519 keys, one of which must have signed; () asks for none.

    Raises:
        ArtefactError: it is missing, not JSON, changed since it was written or signed, or too new.
    """
    file = path / MANIFEST
    data = read_small(file, f"{path} is not an artefact",
                      "`ssljax export RUN --output DIR` writes one.")
    if trusted:
        check_signature(path, data, trusted)
    try:
        manifest = json.loads(data)
        version, checksum = manifest.get("abi"), manifest.pop("sha256", None)
    except (ValueError, TypeError, AttributeError, RecursionError) as err:
        raise ArtefactError(f"{file} is damaged ({err!r:.200}); {EXPORT_AGAIN}") from err
    if version not in ABIS:
        raise ArtefactError(f"{file} has ABI {version!r}; this ssljax reads {list(ABIS)}. "
                            "Install the ssljax that wrote it, or export the run again with this.")
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(text.encode()).hexdigest() != checksum:
        raise ArtefactError(f"{file} was changed after it was written (its checksum differs); "
                            f"{EXPORT_AGAIN}")
    check_fields(file, manifest)
    return manifest


def read_small(file: Path, trouble: str, advice: str) -> bytes:
    """Return a file of at most LARGEST bytes.

    Args:
        file: to read.
        trouble: what it means that it cannot be read, as the beginning of a sentence.
        advice: what to do then, as a sentence.

    Raises:
        ArtefactError: it cannot be read, or is larger.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except OSError as err:
        raise ArtefactError(f"{trouble}: cannot read {file} ({err.strerror}). {advice}") from err
    if len(data) > LARGEST:
        raise ArtefactError(f"{file} has more than {LARGEST} bytes, more than any that "
                            f"`ssljax export` writes; {EXPORT_AGAIN}")
    return data


def check_signature(path: Path, data: bytes, trusted: Sequence[Path]) -> None:
    """Raise ArtefactError unless one of the `trusted` keys signed the manifest's bytes `data`."""
    file = path / SIGNATURE
    signature = read_small(file, f"{path} is not signed", "Sign it with `ssljax export RUN --sign "
                           "KEY`, or serve it without --trusted-key.")
    if not is_signed_by(data, signature, trusted):
        keys = ", ".join(map(str, trusted))
        raise ArtefactError(f"{path / MANIFEST} is not what {file} signs, or none of the trusted "
                            f"keys ({keys}) made that signature: it was changed after it was "
                            "signed, or someone else signed it. Do not serve it.")


def check_fields(file: Path, manifest: Mapping[str, Any]) -> None:
    """Raise ArtefactError unless the manifest has the FIELDS, and its files a size and checksum."""
    for name, kind in FIELDS.items():
        if not isinstance(manifest.get(name), kind):
            raise ArtefactError(f'{file}: "{name}" is {manifest.get(name)!r:.80}; expected a '
                                f"{kind.__name__}. {EXPORT_AGAIN.capitalize()}")
    for name, entry in manifest["files"].items():
        if not isinstance(entry, dict) or not isinstance(entry.get("bytes"), int) or not (
                isinstance(entry.get("sha256"), str)):
            raise ArtefactError(f'{file}: "{name}" has no size and checksum; {EXPORT_AGAIN}')
    for name, entry in manifest["functions"].items():
        if not isinstance(entry, dict) or not isinstance(entry.get("inputs"), dict):
            raise ArtefactError(f'{file}: function "{name}" has no inputs; {EXPORT_AGAIN}')


def check_files(path: Path, manifest: Mapping[str, Any]) -> None:
    """Compare size and checksum of every file with the manifest.

    Raises:
        ArtefactError: naming the first file that is missing or differs.
    """
    for name in manifest["files"]:
        if Path(name).name != name or name != name.strip() or "\\" in name or "\0" in name:
            raise ArtefactError(f'{path / MANIFEST} lists "{name}", not a plain file name.')
    # Sizes first: a file that is not what it should be is not worth reading.
    for name, expected in manifest["files"].items():
        check_size(path / name, expected["bytes"])
    with ThreadPoolExecutor(READERS) as pool:
        sums = pool.map(lambda name: checksum_of(path / name), manifest["files"])
        for (name, expected), found in zip(manifest["files"].items(), sums, strict=True):
            if found != expected["sha256"]:
                raise damaged(path / name, found, expected["sha256"])


def check_size(file: Path, expected: int) -> None:
    """Raise ArtefactError unless `file` is a regular file of so many bytes."""
    try:
        about = file.stat()
    except (OSError, ValueError) as err:
        raise ArtefactError(f"{file} cannot be read ({getattr(err, 'strerror', err)}); "
                            f"{EXPORT_AGAIN}") from err
    if not stat.S_ISREG(about.st_mode):                  # a pipe or device would never end
        raise ArtefactError(f"{file} is no regular file; {EXPORT_AGAIN}")
    if about.st_size != expected:
        raise ArtefactError(f"{file} has {about.st_size} bytes; its manifest says {expected}. "
                            f"It was cut or changed: {EXPORT_AGAIN}")


def checksum_of(file: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        ArtefactError: it cannot be read.
    """
    try:
        return sha256(file)
    except OSError as err:
        raise ArtefactError(f"{file} cannot be read ({err.strerror}); {EXPORT_AGAIN}") from err


def damaged(file: Path, found: str, expected: str) -> ArtefactError:
    """Return the error of a file whose checksum differs."""
    return ArtefactError(f"{file} is damaged: its sha256 is {found[:12]}..., its manifest says "
                         f"{expected[:12]}...; {EXPORT_AGAIN}")


def listed(path: Path, manifest: Mapping[str, Any], name: Any, suffix: str) -> Path:
    """Return the path of a file that the manifest names for some purpose.

    Raises:
        ArtefactError: its checksum is not in the manifest, or it is of another kind.
    """
    if name not in manifest["files"]:
        raise ArtefactError(f"{path / MANIFEST} names {name!r}, which is not among its files.")
    if not name.endswith(suffix):
        raise ArtefactError(f'{path / MANIFEST} names "{name}"; expected a file in *{suffix}. '
                            "Files of other kinds, that run code when they are read, never are.")
    return path / name


def read_listed(path: Path, manifest: Mapping[str, Any], name: Any, suffix: str) -> bytes:
    """Return the bytes of such a file, checked as they are read: what is checked is what is used.

    Raises:
        ArtefactError: as `listed`, or the bytes are not those of the manifest.
    """
    file = listed(path, manifest, name, suffix)
    try:
        data = file.read_bytes()
    except OSError as err:
        raise ArtefactError(f"{file} cannot be read ({err.strerror}); {EXPORT_AGAIN}") from err
    found, expected = hashlib.sha256(data).hexdigest(), manifest["files"][name]["sha256"]
    if found != expected:
        raise damaged(file, found, expected)
    return data
