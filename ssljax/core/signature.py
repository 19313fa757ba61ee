"""Ed25519 signatures: who wrote a file, where checksums only say whether it is whole. Free of jax.

RFC 8032, https://www.rfc-editor.org/rfc/rfc8032, by the `cryptography` package. Keys are PEM files
and signatures 64 raw bytes, both as openssl has them, so that either side can check the other:

    openssl genpkey -algorithm ed25519 -out key.pem
    openssl pkey -in key.pem -pubout -out key.pub
    openssl pkeyutl -verify -pubin -inkey key.pub -rawin -in manifest.json -sigfile FILE
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssljax.core.errors import ArtefactError, needed

MAKE = "`openssl genpkey -algorithm ed25519 -out key.pem` makes one"


def sign(data: bytes, key: Path) -> bytes:
    """Return the signature of `data`, 64 bytes.

    Args:
        data: what is signed.
        key: PEM file of a private Ed25519 key without a passphrase.

    Raises:
        ArtefactError: the file is no such key.
        MissingExtraError: `cryptography` is not installed.
    """
    ed25519, serialization, _ = library()
    try:
        private = serialization.load_pem_private_key(read_key(key), password=None)
    except (ValueError, TypeError) as err:           # TypeError: it wants a passphrase
        raise ArtefactError(f"{key} is no private key in PEM without a passphrase ({err}); "
                            f"{MAKE}.") from err
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise ArtefactError(f"{key} is a key of another kind; expected Ed25519: {MAKE}.")
    return private.sign(data)


def is_signed_by(data: bytes, signature: bytes, keys: Sequence[Path]) -> bool:
    """Say whether one of the public `keys`, PEM files, made `signature` of `data`.

    Raises:
        ArtefactError: a file is no public Ed25519 key.
        MissingExtraError: `cryptography` is not installed.
    """
    _, _, invalid = library()
    for public in [public_key(key) for key in keys]:
        try:
            public.verify(signature, data)
        except invalid:
            continue
        return True
    return False


def public_key(key: Path) -> Any:
    """Return the public key in a PEM file.

    Raises:
        ArtefactError: the file is no public Ed25519 key.
    """
    ed25519, serialization, _ = library()
    try:
        public = serialization.load_pem_public_key(read_key(key))
    except ValueError as err:
        raise ArtefactError(f"{key} is no public key in PEM; `openssl pkey -in key.pem -pubout "
                            "-out key.pub` writes that of a private one.") from err
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise ArtefactError(f"{key} is a key of another kind; expected Ed25519: {MAKE}.")
    return public


def read_key(key: Path) -> bytes:
    """Return the bytes of a key file.

    Raises:
        ArtefactError: it cannot be read.
    """
    try:
        return key.read_bytes()
    except OSError as err:
        raise ArtefactError(f"The key {key} cannot be read ({err.strerror}); {MAKE}.") from err


def library() -> tuple[Any, Any, type[Exception]]:
    """Return the parts of `cryptography` that are used; few need signatures, so only here.

    Raises:
        MissingExtraError: it is not installed.
    """
    with needed("cryptography", "sign"):
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    return ed25519, serialization, InvalidSignature
