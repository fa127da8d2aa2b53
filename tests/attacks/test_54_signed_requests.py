"""Row 54: whatever a client signs or sends as authorization details is answered by an error of the protocol."""

import json
import time
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from idp.errors import OAuthError
from idp.oauth.authorize.checks import validate
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.authorize.request_object import resolve
from idp.oauth.clients.models import Client
from idp.oauth.details.models import Details, DetailsType
from idp.oauth.details.requested import parse
from idp.oauth.details.words import in_words
from idp.settings import settings as server_settings
from tests.support.request_objects import jwks
from tests.support.tokens import key, signed

CLIENT = Client(client_id="c", client_name="C", jwks=jwks("ES256"), scope="openid profile")
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    (
        "iss", "aud", "exp", "nbf", "iat", "sub", "client_id", "response_type", "response_mode", "redirect_uri",
        "scope", "state", "nonce", "code_challenge", "code_challenge_method", "prompt", "max_age", "claims", "resource",
        "acr_values", "ui_locales", "login_hint", "id_token_hint", "authorization_details", "request", "registration",
        "dpop_jkt",
    )
)  # fmt: skip


ERRORS = {
    "invalid_request", "invalid_request_object", "invalid_scope", "invalid_target", "unauthorized_client",
    "unsupported_response_type", "invalid_authorization_details", "registration_not_supported", "login_required",
}  # fmt: skip


@settings(max_examples=300)
@given(changes=st.dictionaries(NAMES | TEXT, JSON, max_size=4), header=st.dictionaries(TEXT, JSON, max_size=2))
async def test_54_request_objects(changes: dict[str, Any], header: dict[str, Any]) -> None:
    now = int(time.time())
    claims = {
        "client_id": "c", "iss": "c", "aud": server_settings().issuer, "exp": now + 60, "response_type": "code",
        "scope": "openid", "code_challenge": "x" * 43, "code_challenge_method": "S256",
    }  # fmt: skip
    token = signed(key("ES256"), header | {"alg": "ES256"}, claims | changes)
    code = None
    try:
        parameters = await resolve({"client_id": "c", "request": token}, CLIENT)
        asked = validate(parameters, CLIENT, "https://app.example.com/callback")
    except OAuthError as error:
        code = error.code
    if code is not None:
        assert code in ERRORS
        return
    # What is accepted can be stored and read.
    assert AuthorizationRequest.from_json(asked.to_json()) == asked
    assert "\\u0000" not in asked.to_json()


KIND = DetailsType(type="t", resource="https://api.example", title="T", summary="{a} {a.b} {c.d.e} {", schema="{}")


@settings(max_examples=300)
@given(value=JSON | st.lists(st.fixed_dictionaries({"type": st.just("t")}, optional={"a": JSON, "c": JSON})))
def test_54_authorization_details(value: Any) -> None:
    code = ""
    details: Details = ()
    try:
        details = parse(json.dumps(value))
    except OAuthError as error:
        code = error.code
    assert details or code == "invalid_authorization_details"
    for detail in details:
        words = in_words(KIND, detail)
        for text in (words.sentence, *(part for fact in words.facts for part in fact)):
            # A value from right to left is isolated from the sentence around it.
            assert text.replace("\N{FIRST STRONG ISOLATE}", "").replace("\N{POP DIRECTIONAL ISOLATE}", "").isprintable()
