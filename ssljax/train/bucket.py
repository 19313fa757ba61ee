"""Roots of checkpoints that are buckets: gs:// and s3:// through fsspec, without TensorFlow."""

import importlib

from etils import epath

from ssljax.core.errors import MissingExtraError

CLIENTS = {"gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3")}     # scheme -> package, extra of ours


def scheme(root: epath.PathLike) -> str:
    """Return "gs" of "gs://bucket/run", "" of a folder."""
    before, colon, _ = str(root).partition("://")
    return before if colon else ""


def open_root(root: epath.PathLike) -> epath.Path:
    """Return the root as a path, with its client ready.

    fsspec remembers what it has listed; Orbax writes past it (through tensorstore), so that its
    memory would miss whole checkpoints: it is switched off for the schemes of CLIENTS.

    Raises:
        MissingExtraError: the bucket's client is not installed.
    """
    if scheme(root) in CLIENTS:
        package, extra = CLIENTS[scheme(root)]
        try:
            importlib.import_module(package)
        except ImportError as err:
            raise MissingExtraError(package, extra) from err
        from fsspec.config import conf

        for name in ("gs", "gcs", "s3"):
            conf.setdefault(name, {})["use_listings_cache"] = False
    return epath.Path(root)
