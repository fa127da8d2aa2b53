"""Software statements of trusted issuers (RFC 7591 section 2.3)."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from idp import clock
from idp.errors import OAuthError
from idp.infra.db.engine import fetchrow
from idp.keys import jose
from idp.oauth.clients.dynamic import service
from idp.oauth.clients.dynamic.service import Registered
from idp.settings import Settings, settings
from tests.oauth.clients.dynamic.conftest import MakeToken

pytestmark = pytest.mark.usefixtures("db")

ISSUER = "https://software.example"
KEY, OTHER = jose.generate("ES256"), jose.generate("ES256")
RSA = jose.generate("RS256")
SOFTWARE = {
    "iss": ISSUER,
    "software_id": "4NRB1",
    "client_name": "Approved",
    "redirect_uris": ["https://approved.example/cb"],
}


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An issuer whose statements are trusted in this process."""
    path = tmp_path / "issuers.json"
    path.write_text(json.dumps({ISSUER: {"jwks": {"keys": [KEY.public_jwk, RSA.public_jwk]}}}))
    monkeypatch.setenv("IDP_CLIENT_REGISTRATION", "token")
    monkeypatch.setenv("IDP_CLIENT_REGISTRATION_STATEMENT_ISSUERS", str(path))
    settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()


def statement(key: jose.SigningKey = KEY, typ: str = "JWT", **changes: Any) -> str:
    claims = {name: value for name, value in (SOFTWARE | changes).items() if value is not None}
    return jose.sign(key, typ, claims)


async def register(token: str, software_statement: Any, **metadata: Any) -> Registered:
    body = {"software_statement": software_statement, "redirect_uris": ["https://own.example/cb"], "client_name": "Own"}
    return await service.register(json.dumps(body | metadata).encode(), token)


@pytest.mark.usefixtures("trusted")
async def test_its_claims_take_precedence(make_token: MakeToken) -> None:
    signed = statement(contacts=["a@software.example"], skip_consent=True, require_pkce=False, unknown=1)
    registered = await register(
        await make_token(), signed, contacts=["own@own.example"], policy_uri="https://own.example/p"
    )
    client = registered.client
    assert client.client_name == "Approved"
    assert client.redirect_uris == ("https://approved.example/cb",)
    assert client.software_id == "4NRB1"
    assert client.contacts == ("a@software.example",)
    assert client.policy_uri == "https://own.example/p"
    assert not client.skip_consent
    assert client.require_pkce
    assert registered.software_statement == signed
    read = await service.read(client.client_id, registered.registration_token)
    assert read.software_statement == signed


@pytest.mark.usefixtures("trusted")
async def test_it_stays_at_a_change(make_token: MakeToken, trusted: pytest.MonkeyPatch) -> None:
    """Also after it has expired, and after its issuer is no longer trusted. A new one replaces it."""
    registered = await register(await make_token(), statement())
    client_id = registered.client.client_id
    change = {"client_id": client_id, "client_name": "Renamed", "redirect_uris": ["https://evil.example/cb"]}
    replaced = statement(client_name="Second")
    registered = await service.update(client_id, registered.registration_token, json.dumps(change).encode())
    assert registered.client.client_name == "Approved"
    assert registered.client.redirect_uris == ("https://approved.example/cb",)
    body = json.dumps(change | {"software_statement": replaced}).encode()
    registered = await service.update(client_id, registered.registration_token, body)
    assert registered.client.client_name == "Second"
    assert registered.software_statement == replaced
    trusted.delenv("IDP_CLIENT_REGISTRATION_STATEMENT_ISSUERS")
    settings.cache_clear()
    for sent in ({}, {"software_statement": statement(client_name="Third")}, {"software_statement": "x"}):
        body = json.dumps(change | sent).encode()
        registered = await service.update(client_id, registered.registration_token, body)
        assert registered.client.client_name == "Second"
        assert registered.client.redirect_uris == ("https://approved.example/cb",)
        assert registered.software_statement == replaced


@pytest.mark.usefixtures("trusted")
async def test_the_ceiling_holds(make_token: MakeToken) -> None:
    with pytest.raises(OAuthError) as raised:
        await register(await make_token(redirect_hosts=("own.example",)), statement())
    assert raised.value.code == "invalid_redirect_uri"


def unsigned(header: dict[str, Any]) -> str:
    parts = (json.dumps(header).encode(), json.dumps(SOFTWARE).encode(), b"")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def with_header(**members: Any) -> str:
    header, payload, signature = statement().split(".")
    decoded = json.loads(base64.urlsafe_b64decode(header + "=="))
    encoded = base64.urlsafe_b64encode(json.dumps(decoded | members).encode()).rstrip(b"=").decode()
    return f"{encoded}.{payload}.{signature}"


now = clock.now().timestamp()
INVALID = {
    "a number": 5,
    "a list": ["x"],
    "empty": "",
    "no JWT": "x",
    "two parts": "a.b",
    "NUL": "a\0.b.c",
    "long": "x" * 20_000,
    "five parts": "a.b.c.d.e",
    "alg none": unsigned({"alg": "none"}),
    "alg None": unsigned({"alg": "nOnE"}),
    "HS256 with the public key": unsigned({"alg": "HS256", "kid": KEY.kid}),
    "unknown crit": with_header(crit=["x"], x=1),
    "embedded key": with_header(jwk=OTHER.public_jwk),
    "of another key": statement(OTHER),
    "wrong typ": statement(typ="at+jwt"),
    "rt+jwt": statement(typ="rt+jwt"),
    "expired": statement(exp=int(now) - 60),
    "not yet": statement(nbf=int(now) + 86400),
    "exp as text": statement(exp="x"),
    "another audience": statement(aud="https://other.example"),
    "audience of another kind": statement(aud={"x": 1}),
    "manipulated": statement()[:-4] + "AAAA",
}


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("kind", INVALID)
async def test_invalid_statements(make_token: MakeToken, kind: str) -> None:
    """RFC 7591 section 3.2.2. Nothing is stored, and no use is taken."""
    token = await make_token()
    with pytest.raises(OAuthError) as raised:
        await register(token, INVALID[kind])
    assert raised.value.code == "invalid_software_statement", raised.value.description
    assert (await register(token, statement())).client.client_name == "Approved"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "issuer", [None, "https://other.example", 5, ["https://software.example"], f"{ISSUER}/"], ids=str
)
async def test_unapproved_statements(make_token: MakeToken, issuer: Any) -> None:
    with pytest.raises(OAuthError) as raised:
        await register(await make_token(), statement(iss=issuer))
    assert raised.value.code == "unapproved_software_statement"


@pytest.mark.usefixtures("trusted")
async def test_members_of_a_wrong_type(make_token: MakeToken) -> None:
    """An issuer makes mistakes, too."""
    for changes in ({"redirect_uris": "https://a.example"}, {"client_name": 5}, {"contacts": ["x\0"]}):
        with pytest.raises(OAuthError) as raised:
            await register(await make_token(), statement(**changes))
        assert raised.value.code == "invalid_client_metadata"


@pytest.mark.usefixtures("trusted")
async def test_accepted_statements(make_token: MakeToken) -> None:
    issuer = settings().issuer
    for signed in (
        statement(RSA), statement(aud=issuer), statement(aud=["x", issuer]), statement(exp=int(now) + 3600),
        statement(exp=now + 3600.5), statement(iat=int(now)),
    ):  # fmt: skip
        assert (await register(await make_token(), signed)).client.client_name == "Approved"


async def test_without_trusted_issuers_it_is_ignored(make_token: MakeToken, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7591 section 2.3."""
    for value in (statement(), "x"):
        registered = await register(await make_token(), value)
        assert registered.client.client_name == "Own"
        assert registered.software_statement is None
    row = await fetchrow("SELECT * FROM client_registration WHERE client_id = $1", registered.client.client_id)
    assert row is not None
    assert row["software_statement"] is None


async def test_it_can_be_required(make_token: MakeToken, trusted: pytest.MonkeyPatch) -> None:
    trusted.setenv("IDP_CLIENT_REGISTRATION_STATEMENT_REQUIRED", "true")
    settings.cache_clear()
    token = await make_token()
    with pytest.raises(OAuthError) as raised:
        await service.register(b'{"redirect_uris": ["https://own.example/cb"]}', token)
    assert raised.value.code == "invalid_software_statement"
    await register(token, statement())


@pytest.mark.parametrize(
    "content",
    ["", "[]", "x", '{"a": 1}', '{"a": {}}', '{"a": {"jwks_uri": "http://a.example"}}', '{"a": {"jwks_uri": 5}}',
     '{"a": {"jwks": []}}', '{"a": {"jwks": {}, "jwks_uri": "https://a.example"}}'],
)  # fmt: skip
def test_a_malformed_file_stops_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "issuers.json"
    path.write_text(content)
    with pytest.raises(ValidationError, match="JSON file"):
        Settings(client_registration_statement_issuers=path)
