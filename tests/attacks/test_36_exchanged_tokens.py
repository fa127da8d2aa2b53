"""Row 36: subject and actor tokens that this server did not sign, or not as what they say."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from idp.accounts.tables import User
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth.exchange import token_types
from idp.oauth.token.refresh_jwt import new_refresh_token
from idp.oauth.token.token_exchange import GRANT_TYPE
from tests.support.exchange import a_service, allow, an_api, an_app, exchange, own_token, refusal, sign_in
from tests.support.tokens import claims_of, decode, encode, hmac_signed, signed, unsigned


def forged(header: dict[str, Any], claims: dict[str, Any]) -> dict[str, str]:
    """Return tokens with these claims that nobody but an attacker has made."""
    own, thief = key_set.signing("RS256"), jose.generate("RS256")
    pem = own.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    none = unsigned(header | {"alg": "none"}, claims)
    return {
        "none": f"{none}.",
        "no kid": f"{unsigned({'alg': 'none', 'typ': 'at+jwt'}, claims)}.",
        "HS256 with the public key": hmac_signed(pem, header | {"alg": "HS256"}, claims),
        "another key": signed(thief, header, claims),
        "its own key in the header": signed(thief, header | {"jwk": thief.public_jwk}, claims),
        "a URL of keys": signed(thief, header | {"jku": "https://evil.example/jwks.json"}, claims),
        "another kid": signed(thief, header | {"kid": thief.kid}, claims),
        "crit": signed(own, header | {"crit": ["exp"], "exp": 1}, claims),
        "a userinfo response": key_set.sign("RS256", "JWT", {name: claims[name] for name in ("iss", "sub", "aud")}),
    }


@pytest.mark.parametrize("role", ["subject", "actor"])
@pytest.mark.parametrize("kind", ["access_token", "id_token"])
async def test_36_forged_tokens(db: str, alice: User, role: str, kind: str) -> None:
    grants = ["authorization_code", GRANT_TYPE]
    service = await a_service("openid read", grant_types=grants, redirect_uris=["https://x.example/cb"])
    api = await an_api("read")
    await allow(service, api, scope="read", subject_token_types=["access_token", "id_token"])
    given = await sign_in(service, alice, (api,))
    token = given.access_token if kind == "access_token" else given.id_token
    header, claims = decode(token.split(".")[0]), claims_of(token)
    type_ = f"{token_types.PREFIX}{kind}"
    for name, bad in forged(header, claims).items():
        if role == "subject":
            refused = await refusal(service, bad, subject_token_type=type_)
        else:
            refused = await refusal(service, given.access_token, actor_token=bad, actor_token_type=type_)
        assert refused[0] == "invalid_request", name
        assert refused[1] in ("malformed", "bad_signature", "wrong_type", "expired"), (name, refused)


async def test_36_tokens_of_another_kind(db: str, alice: User) -> None:
    """A refresh token, a code, and what is no token at all are refused by the reader of every type."""
    service, api = await a_service("read"), await an_api("read")
    await allow(service, api, scope="read", subject_token_types=["access_token", "id_token"])
    refresh = new_refresh_token(alice.id, alice.id, 60).token
    for kind in (token_types.ACCESS_TOKEN, token_types.ID_TOKEN):
        for token in (refresh, "a.b.c", "x", "é", ".", "..", "a" * 20_000, encode({"a": 1}) * 3, "\ud800"):
            assert (await refusal(service, token, subject_token_type=kind, resource=api))[0] == "invalid_request"


async def test_36_claims_of_another_form(db: str, alice: User) -> None:
    """Signed by us, as if a bug had let them out: they are refused, not a fault of the server."""
    app, service = await an_app("openid read"), await a_service("read")
    api = await an_api("read", client=service)
    await allow(service, api, scope="read", subject_token_types=["id_token"])
    claims = claims_of((await sign_in(app, alice, (api,))).id_token)
    for changes in (
        {"jti": "x"}, {"sub": "x"}, {"iss": "https://evil.example"}, {"aud": "nobody"}, {"exp": 1}, {"client_id": "x"},
    ):  # fmt: skip
        token = key_set.sign("RS256", "JWT", claims | changes)
        refused = await refusal(service, token, subject_token_type=token_types.ID_TOKEN)
        assert refused[0] == "invalid_request", changes


async def test_36_many_actors(db: str, alice: User) -> None:
    """A chain is as long as its exchanges, which are limited; one that is deeper does not hang the server."""
    service, app = await a_service("read"), await an_app("openid read")
    api = await an_api("read", client=service)
    await allow(service, api, scope="read")
    token = (await sign_in(app, alice, (api,))).access_token
    actor: dict[str, Any] = {"sub": service.client_id, "client_id": service.client_id}
    for _ in range(100):
        actor = {"sub": service.client_id, "client_id": service.client_id, "act": actor}
    deep = key_set.sign("RS256", "at+jwt", claims_of(token) | {"act": actor})
    assert len(json.dumps(claims_of((await exchange(service, deep)).access_token))) < 2 * len(deep)
    own = await own_token(service)
    assert await exchange(service, token, actor_token=own)
