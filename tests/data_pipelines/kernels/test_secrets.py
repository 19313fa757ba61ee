"""Secrets: issued tokens, assigned values, and what only looks like them."""

import string

import numpy as np
import pytest

from data_pipelines.kernels.secrets import entropy, find_secrets

DRAW = np.random.default_rng(0)


def drawn(size, letters=string.ascii_letters + string.digits):
    return "".join(DRAW.choice(list(letters), size))


def found(text):
    return [text[start:stop] for start, stop in find_secrets(text)]


@pytest.mark.parametrize("secret", [
    "AKIA" + drawn(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), "ghp_" + drawn(36),
    "github_pat_" + drawn(70), "glpat-" + drawn(20), "xoxb-" + drawn(30), "sk_live_" + drawn(24),
    "AIza" + drawn(35), "sk-proj-" + drawn(48), "hf_" + drawn(34, string.ascii_letters),
    "npm_" + drawn(36), "SG." + drawn(22) + "." + drawn(43),
    "dop_v1_" + drawn(64, "0123456789abcdef"),
    "eyJ" + drawn(20) + ".eyJ" + drawn(40) + "." + drawn(43)])
def test_issued_tokens_are_found_where_they_stand(secret):
    assert secret in found(f"config: ({secret}), done.")
    assert secret not in found(f"x{secret}") and secret not in found(f"({secret[:-12]})")


def test_private_keys_are_found_from_end_to_end():
    key = "-----BEGIN RSA PRIVATE KEY-----\n" + drawn(64) + "\n-----END RSA PRIVATE KEY-----"
    assert found(f"see\n{key}\nabove") == [key]
    assert not found(key.replace("PRIVATE", "PUBLIC")) and not found(key[:60])


@pytest.mark.parametrize("text, secret", [
    ("api_key = 'f3Kq9zLm2Xv8RtYw'", "f3Kq9zLm2Xv8RtYw"),
    ("PASSWORD: 9f8e7d6c5b4a39281706", "9f8e7d6c5b4a39281706"),
    ("client-secret => q8Zr3Tn6Wb1Yx5Vk", "q8Zr3Tn6Wb1Yx5Vk"),
    ("password = correcthorsebatterystaple", None), ("token: aaaaaaaaaaaaaaaa1", None),
    ("secret = os.environ['API_SECRET_KEY_1']", None), ("key f3Kq9zLm2Xv8RtYw", None),
    ("password = 123456789012345678", None), ("ghp_" + "x" * 36, None)])
def test_assigned_values_are_secrets_where_they_look_drawn(text, secret):
    assert found(text) == ([secret] if secret else [])


@pytest.mark.parametrize("value, bits", [("aaaa", 0), ("abab", 1), ("abcd", 2), ("aaab", 0.8113)])
def test_entropy_is_shannons(value, bits):
    assert entropy(value) == pytest.approx(bits, abs=1e-4)
