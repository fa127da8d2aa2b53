"""Checks of the OpenID Foundation's test plans that apply to every response."""

import re
from collections import Counter
from math import log2
from typing import Any

import httpx

from idp.keys import jose
from idp.keys.key_set import key_set

#: RFC 6749 sections 4.1.2.1 and 5.2: no double quote, no backslash, nothing but ASCII.
ERROR_DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")
LEAN_CLAIMS = {
    *("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr"),
    *("azp", "at_hash", "c_hash", "nbf", "jti", "sid", "s_hash", "txn"),
}
ERROR_PARAMETERS = {"error", "error_description", "error_uri", "state", "session_state", "iss"}


def check_error_redirect(parameters: dict[str, str], *, error: str, state: str, issuer: str) -> None:
    """Check an authorization error response."""
    assert parameters["error"] == error
    assert parameters["state"] == state
    assert parameters["iss"] == issuer
    assert "code" not in parameters
    assert set(parameters) <= ERROR_PARAMETERS
    assert ERROR_DESCRIPTION.fullmatch(parameters["error_description"])


def check_json_error(response: httpx.Response, status: int, error: str) -> None:
    """Check an error response of the token endpoint or a similar one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["error"] == error
    assert ERROR_DESCRIPTION.fullmatch(response.json()["error_description"])


def check_token_response(response: httpx.Response) -> dict[str, Any]:
    """Check a successful token response (RFC 6749 section 5.1)."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, Any] = response.json()
    assert body["token_type"] == "Bearer"
    assert isinstance(body["expires_in"], int)
    assert 0 < body["expires_in"] <= 365 * 86400
    return body


def check_id_token(token: str, *, issuer: str, client_id: str, nonce: str | None) -> dict[str, Any]:
    """Check an ID token as section 0 of the plans requires: correct, and without needless claims."""
    claims = jose.verify(token, key_set.verification(), typ="JWT")
    jose.check_times(claims)
    assert claims["iss"] == issuer
    assert claims["aud"] == client_id
    assert claims.get("nonce") == nonce
    assert claims["sub"]
    assert isinstance(claims["acr"], str)
    assert claims["acr"]
    assert set(claims) <= LEAN_CLAIMS
    assert not any(value in (None, "", "null") for value in claims.values())
    return claims


def entropy(text: str) -> float:
    """Return Shannon's entropy of the whole string, in bits."""
    counts = Counter(text)
    return -sum(n * log2(n / len(text)) for n in counts.values())
