"""The demo never shows `Verified` for a token that a client must refuse."""

from typing import Any

import pytest

from idp import clock
from idp.dev import relying_party
from idp.dev.relying_party import SignInFailedError, verify_access_token, verify_id_token
from idp.dev.seed import CLIENT_ID
from idp.keys import jose
from idp.settings import load, settings
from tests.support.server import free_port

KEY, STRANGER = jose.generate("ES256"), jose.generate("ES256")
KEYS = {KEY.kid: KEY}
EXPECTED = {"nonce": "the nonce"}


def id_token(access_token: str, key: jose.SigningKey = KEY, typ: str = "JWT", **changes: Any) -> str:
    now = clock.timestamp()
    claims = {
        "iss": settings().issuer,
        "aud": CLIENT_ID,
        "sub": "alice",
        "iat": now,
        "exp": now + 60,
        "nonce": "the nonce",
        "at_hash": jose.left_half_hash(access_token, "ES256"),
    }
    return jose.sign(key, typ, {name: value for name, value in (claims | changes).items() if value is not None})


def access_token(key: jose.SigningKey = KEY, typ: str = "at+jwt", **changes: Any) -> str:
    now = clock.timestamp()
    claims = {"iss": settings().issuer, "aud": settings().issuer, "sub": "alice", "iat": now, "exp": now + 60}
    return jose.sign(key, typ, {name: value for name, value in (claims | changes).items() if value is not None})


def test_good_tokens_hold() -> None:
    token = access_token()
    assert verify_id_token(id_token(token), token, KEYS, EXPECTED)["sub"] == "alice"
    assert verify_access_token(token, KEYS)["sub"] == "alice"
    assert verify_access_token(access_token(aud=["https://api.example.com", settings().issuer]), KEYS)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.example.com"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"nonce": "another nonce"},
        {"nonce": None},
        {"at_hash": "another-hash"},
        {"at_hash": None},
        {"typ": "at+jwt"},
        {"key": STRANGER},
    ],
    ids="-".join,
)
def test_an_id_token_that_differs_in_one_thing_is_refused(changes: dict[str, Any]) -> None:
    token = access_token()
    with pytest.raises(jose.InvalidJWTError):
        verify_id_token(id_token(token, **changes), token, KEYS, EXPECTED)


def test_an_id_token_of_another_access_token_is_refused() -> None:
    with pytest.raises(jose.InvalidJWTError):
        verify_id_token(id_token(access_token(sub="mallory")), access_token(), KEYS, EXPECTED)


@pytest.mark.parametrize("expected", [{"sub": "bob"}, {"auth_time": 1}], ids=str)
def test_after_a_refresh_it_must_speak_of_the_same_sign_in(expected: dict[str, Any]) -> None:
    """OpenID Connect Core section 12.2."""
    token = access_token()
    with pytest.raises(jose.InvalidJWTError):
        verify_id_token(id_token(token), token, KEYS, expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.example.com"},
        {"aud": "https://api.example.com"},
        {"aud": None},
        {"exp": 1},
        {"typ": "JWT"},
        {"key": STRANGER},
    ],
    ids="-".join,
)
def test_an_access_token_that_differs_in_one_thing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(jose.InvalidJWTError):
        verify_access_token(access_token(**changes), KEYS)


async def test_an_issuer_that_does_not_answer_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = load(issuer=f"http://localhost:{free_port()}")
    monkeypatch.setattr(relying_party, "settings", lambda: elsewhere)
    with pytest.raises(SignInFailedError, match="does not answer at its issuer address"):
        await relying_party.begin(None)
