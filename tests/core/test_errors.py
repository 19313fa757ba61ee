"""Errors are the same in the process that catches them."""

import pickle

import pytest

from ssljax.core.errors import DataError, Interrupted, MissingExtraError, UnreadableRecordError


@pytest.mark.parametrize("error", [
    DataError("no"), MissingExtraError("daft", "daft"), Interrupted("stopped", 75),
    UnreadableRecordError("short", "truncated")])
def test_an_error_crosses_processes_whole(error):
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error) and str(found) == str(error)
    assert vars(found) == vars(error) and found.exit_code == error.exit_code
