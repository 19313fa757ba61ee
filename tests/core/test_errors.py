"""Errors are the same in the process that catches them, and say what to install."""

import importlib
import pickle

import pytest

from ssljax.core.errors import (
    DataError,
    Interrupted,
    MissingExtraError,
    UnreadableRecordError,
    needed,
)


@pytest.mark.parametrize("error", [
    DataError("no"), MissingExtraError("daft", "daft"), Interrupted("stopped", 75),
    UnreadableRecordError("short", "truncated")])
def test_an_error_crosses_processes_whole(error):
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error) and str(found) == str(error)
    assert vars(found) == vars(error) and found.exit_code == error.exit_code


def test_an_import_that_fails_names_the_extra():
    said = r"no_such is not .*pip install 'ssljax\[serve\]'"
    with pytest.raises(MissingExtraError, match=said), needed("no_such", "serve"):
        importlib.import_module("no_such_package")
    with needed("json", "serve"):
        assert importlib.import_module("json").loads("1") == 1
