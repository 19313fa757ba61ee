"""What is said of a manifest or signature that cannot be read names the file and the reason."""

import json

import pytest

from ssljax.core.errors import ArtefactError
from ssljax.serve.manifest import read_manifest


@pytest.mark.parametrize("trusted", [(), ("key.pem",)])
def test_a_missing_file_is_named_with_its_reason(tmp_path, trusted):
    folder = tmp_path / "WHY %s"
    folder.mkdir()
    name = "manifest.json"
    if trusted:
        (folder / name).write_text(json.dumps({}))
        name += ".sig"
    with pytest.raises(ArtefactError) as caught:
        read_manifest(folder, trusted=[folder / key for key in trusted])
    assert f"cannot read {folder / name} (No such file or directory). " in str(caught.value)
