"""Row 37: a header that brings its own key, names one in an odd way, or asks for an extension.

Every token here carries a signature that is right for a key of ours: the header alone is refused.
"""

import base64
from itertools import count
from typing import Any

import pytest

from idp.keys import jose
from idp.keys.jose import InvalidJWTError
from tests.support.tokens import CLAIMS, encode, key, signed

KEY = key("ES256")
KEYS = {KEY.kid: KEY}
HEADER = {"alg": "ES256", "kid": KEY.kid, "typ": "JWT"}
OTHER = jose.generate("ES256")


def test_37_the_control_is_accepted() -> None:
    assert jose.verify(signed(KEY, HEADER), KEYS, typ="JWT") == CLAIMS


@pytest.mark.parametrize(
    "members",
    [
        {"jwk": OTHER.public_jwk},
        {"jwk": KEY.public_jwk},
        {"jku": "https://evil.example.com/jwks.json"},
        {"jku": "http://localhost:8000/.well-known/jwks.json"},
        {"x5u": "https://evil.example.com/cert.pem"},
        {"x5c": ["MIIB"]},
        {"x5t": "AAAA"},
        {"x5t#S256": "AAAA"},
        {"crit": ["exp"], "exp": 4000000000},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"p2c": 2**31},
        {"surprise": True},
        {"": ""},
    ],
    ids="-".join,
)
def test_37_members_that_we_do_not_write(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidJWTError):
        jose.verify(signed(KEY, HEADER | members), KEYS, typ="JWT")


def test_37_a_key_in_the_header() -> None:
    """Signed by a key that the header carries, names or that is merely of the right algorithm."""
    for header in (
        HEADER | {"jwk": OTHER.public_jwk},
        HEADER,
        HEADER | {"kid": OTHER.kid},
        {"alg": "ES256", "typ": "JWT", "jwk": OTHER.public_jwk},
    ):
        with pytest.raises(InvalidJWTError):
            jose.verify(signed(OTHER, header), KEYS, typ="JWT")


@pytest.mark.parametrize(
    "kid",
    [
        "",
        "../../../../dev/null",
        "/dev/null",
        "' OR '1'='1",
        "'; DROP TABLE signing_key; --",
        KEY.kid + "\0",
        KEY.kid + " ",
        KEY.kid.lower(),
        KEY.kid[:-1],
        "\ud800",
        None,
        0,
        True,
        [KEY.kid],
        {KEY.kid: KEY.kid},
    ],
    ids=count(),
)
def test_37_a_kid_that_is_not_ours(kid: object) -> None:
    with pytest.raises(InvalidJWTError):
        jose.verify(signed(KEY, HEADER | {"kid": kid}), KEYS, typ="JWT")


def test_37_no_kid() -> None:
    """Our tokens name their key; there is no trying of all keys."""
    with pytest.raises(InvalidJWTError):
        jose.verify(signed(KEY, {"alg": "ES256", "typ": "JWT"}), KEYS, typ="JWT")


@pytest.mark.parametrize("member", ["kid", "alg", "typ"])
@pytest.mark.parametrize("first", [True, False])
def test_37_a_member_twice(member: str, first: bool) -> None:
    right, wrong = f'"{member}":"{HEADER[member]}"', f'"{member}":"other"'
    others = ",".join(f'"{name}":"{value}"' for name, value in HEADER.items() if name != member)
    header = f"{{{wrong if first else right},{others},{right if first else wrong}}}".encode()
    with pytest.raises(InvalidJWTError):
        jose.verify(signed(KEY, header), KEYS, typ="JWT")


@pytest.mark.parametrize("alg", [None, 1, True, ["ES256"], {"ES256": 1}, "es256", "ES256 "])
def test_37_an_odd_alg(alg: object) -> None:
    with pytest.raises(InvalidJWTError):
        jose.verify(signed(KEY, HEADER | {"alg": alg}), KEYS, typ="JWT")


@pytest.mark.parametrize("header", [[], "text", 1, None, [HEADER], b"", b"{", b"\xff{}", b'{"a":NaN}'])
def test_37_a_header_that_is_no_object(header: object) -> None:
    with pytest.raises(InvalidJWTError):
        jose.verify(signed(KEY, header), KEYS, typ=None)


def test_37_other_encodings_of_the_same_token() -> None:
    """One token is one string: another spelling of the same bytes is not that token."""
    header, payload, signature = signed(KEY, HEADER).split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    # 64 bytes are 86 characters: the last one has four unused bits.
    spare = signature[:-1] + chr(ord(signature[-1]) + 1)
    assert base64.urlsafe_b64decode(spare + "==") == raw
    for token in (
        f"{header}.{payload}.{spare}",
        f"{header}.{payload}.{signature}==",
        f"{header}.{payload}.{signature}\n",
        f" {header}.{payload}.{signature}",
        f"{header}.{payload}.{signature[:40]}\n{signature[40:]}",
        f"{header}.{payload}.{base64.b64encode(raw + bytes([251, 255])).decode()}",
        f"{header}.{payload}.{encode(raw)}.",
    ):
        with pytest.raises(InvalidJWTError):
            jose.verify(token, KEYS, typ="JWT")
