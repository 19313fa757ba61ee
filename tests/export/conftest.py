"""Ed25519 keys as openssl would have made them."""

from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Keys(NamedTuple):
    """PEM files of a pair of keys, and of the public key of another pair."""

    private: Path
    public: Path
    other: Path


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    pem = serialization.Encoding.PEM
    for name in ("own", "other"):
        key = Ed25519PrivateKey.generate()
        (folder / f"{name}.pem").write_bytes(key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        (folder / f"{name}.pub").write_bytes(key.public_key().public_bytes(
            pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return Keys(folder / "own.pem", folder / "own.pub", folder / "other.pub")
