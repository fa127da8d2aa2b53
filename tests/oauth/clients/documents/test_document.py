"""What a metadata document must say, and what is taken from it."""

import json
from typing import Any

import pytest

from idp.keys.key_set import KeySet
from idp.oauth.clients.documents.document import read
from idp.oauth.clients.documents.errors import DocumentError
from idp.oauth.clients.metadata import ClientMetadata
from idp.reasons import Reason

URL = "https://app.example.com/client.json"
DOCUMENT: dict[str, Any] = {
    "client_id": URL,
    "client_name": "Example",
    "redirect_uris": ["https://app.example.com/callback"],
}


def _read(content_type: str = "application/json", **changes: Any) -> ClientMetadata:
    return read(URL, content_type, json.dumps(DOCUMENT | changes).encode())


def test_a_small_document() -> None:
    metadata = _read()
    assert metadata.client_name == "Example"
    assert metadata.redirect_uris == ("https://app.example.com/callback",)
    assert metadata.token_endpoint_auth_method == "none"
    assert metadata.application_type == "web"
    assert metadata.grant_types == ("authorization_code",)
    assert metadata.scope == ""
    assert metadata.require_pkce


def test_the_example_of_the_mcp_specification() -> None:
    metadata = _read(
        client_uri="https://app.example.com",
        logo_uri="https://app.example.com/logo.png",
        redirect_uris=["http://127.0.0.1:3000/callback", "http://localhost:3000/callback"],
        grant_types=["authorization_code"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    assert metadata.application_type == "native"
    assert metadata.logo_uri is None


def test_what_is_left_out() -> None:
    """Unknown members, those of the operator, grants of other servers, and members that are null."""
    metadata = _read(
        skip_consent=True,
        require_pkce=False,
        authorization_challenge=True,
        upstreams=["x"],
        profile="fapi2",
        client_name=None,
        x_unknown={"a": [1]},
        grant_types=["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
    )
    assert not metadata.skip_consent
    assert metadata.require_pkce
    assert not metadata.authorization_challenge
    assert metadata.upstreams is None
    assert metadata.profile is None
    assert metadata.client_name == "app.example.com"
    assert metadata.grant_types == ("authorization_code", "refresh_token")


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/x.y+json"]
)
def test_json_types(content_type: str) -> None:
    assert _read(content_type).client_name == "Example"


@pytest.mark.parametrize(
    "content_type", ["", "text/html", "text/plain", "application/json5", "application/jose", "+json"]
)
def test_other_types(content_type: str) -> None:
    with pytest.raises(DocumentError, match="Content-Type"):
        _read(content_type)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"client_id": None}, "client_id"),
        ({"client_id": "https://other.example.com/client.json"}, "client_id"),
        ({"client_id": URL + "/"}, "client_id"),
        ({"client_id": URL.upper()}, "client_id"),
        ({"client_id": [URL]}, "client_id"),
        ({"client_secret": "s"}, "client_secret"),
        ({"client_secret_expires_at": 0}, "client_secret"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": 1}, "token_endpoint_auth_method"),
        ({"client_name": 7}, "client_name"),
        ({"client_name": ""}, "client_name"),
        ({"client_name": "a\nb"}, "client_name"),
        ({"client_name": "\u202eevil"}, "client_name"),
        ({"client_name": "x" * 201}, "client_name"),
        ({"redirect_uris": []}, "redirect_uris"),
        ({"redirect_uris": None}, "redirect_uris"),
        ({"redirect_uris": "https://app.example.com/callback"}, "redirect_uris"),
        ({"redirect_uris": [1]}, "redirect_uris"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "redirect URI"),
        ({"redirect_uris": ["http://app.example.com/callback"]}, "redirect URI"),
        ({"redirect_uris": ["https://app.example.com/*"]}, "redirect URI"),
        ({"redirect_uris": ["https://app.example.com/callback#f"]}, "redirect URI"),
        ({"redirect_uris": [f"https://app.example.com/{n}" for n in range(101)]}, "redirect_uris"),
        ({"grant_types": ["client_credentials"]}, "grant_types"),
        ({"grant_types": ["refresh_token"]}, "refresh_token"),
        ({"grant_types": "authorization_code"}, "grant_types"),
        ({"client_uri": "javascript:alert(1)"}, "client_uri"),
        ({"policy_uri": "http://app.example.com/policy"}, "policy_uri"),
        ({"scope": "a  b"}, "scope"),
        ({"scope": ["a"]}, "scope"),
        ({"scope": "a\0b"}, "NUL"),
        ({"contacts": ["\0"]}, "NUL"),
    ],
)
def test_bad_values(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(DocumentError, match=problem) as refused:
        _read(**changes)
    assert refused.value.reason is Reason.DOCUMENT_INVALID


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"x"', b"{", b"{}{}", b"\xff", b'{"client_id": NaN}', b"[" * 5000, b'{"a":' * 3000,
        b'{"client_id": "a", "client_id": "a"}', b'{"client_name": "\\ud800"}', b'{"a": 1,}', b"\xef\xbb\xbf{}",
        b"<html></html>", b"callback({})",
    ],
)  # fmt: skip
def test_bad_json(body: bytes) -> None:
    with pytest.raises(DocumentError) as refused:
        read(URL, "application/json", body)
    assert refused.value.reason is Reason.DOCUMENT_INVALID


def test_strangers_do_not_make_us_generate_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """An algorithm that none of our keys has would otherwise also be a 503 of every signed response."""
    # Other tests of this process may have loaded keys of all algorithms.
    monkeypatch.setattr(KeySet, "algorithms", lambda _: ("RS256",))
    for member in ("id_token", "userinfo", "introspection", "authorization"):
        with pytest.raises(DocumentError, match=f"{member}_signed_response_alg must be one of RS256"):
            _read(**{f"{member}_signed_response_alg": "EdDSA"})
