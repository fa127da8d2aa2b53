"""Client authentication by assertions: private_key_jwt and client_secret_jwt."""

import time
from typing import Any

import msgspec
import pytest

from idp.errors import InvalidClientError, InvalidRequestError
from idp.infra.db.engine import fetch
from idp.keys.algorithms import VERIFICATION_ALGORITHMS
from idp.keys.jose import MAX_AHEAD, registered
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.authentication.assertions import ASSERTION_TYPE
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import disable_client, register_client, rotate_secret
from idp.oauth.clients.registry import registry
from idp.oauth.clients.repository import find_client
from idp.oauth.clients.service import delete_client, update_client
from idp.oauth.replay.service import MAX_JTI_LENGTH
from idp.reasons import Reason
from idp.settings import settings
from tests.attacks.test_42_client_secrets import basic
from tests.support import tokens
from tests.support.assertions import ClientKeys, KeyHost, claims, form
from tests.support.isolated import MoveClock

pytestmark = pytest.mark.usefixtures("db")

KEYS = ClientKeys()
ISSUER = settings().issuer


async def register(method: str = "private_key_jwt", **metadata: Any) -> tuple[Client, str]:
    """Register a client, and return it with its secret, or an empty one."""
    if method == "private_key_jwt" and "jwks_uri" not in metadata:
        metadata = {"jwks": KEYS.jwks()} | metadata
    client, secret = await register_client(
        client_name="Bank",
        grant_types=["client_credentials"],
        scope="",
        token_endpoint_auth_method=method,
        **metadata,
    )
    await registry.load()
    return client, secret or ""


async def refused(assertion: str, *, endpoint: str = "/token", **more: str) -> Reason | None:
    """Authenticate, which fails, and return the reason."""
    with pytest.raises(InvalidClientError) as error:
        await authenticate(None, form(assertion, **more), endpoint)
    assert error.value.description == "Client authentication failed."
    assert (error.value.code, error.value.status, error.value.challenge) == ("invalid_client", 401, False)
    return error.value.reason


async def used() -> int:
    (row,) = await fetch("SELECT count(*) FROM used_jwt")
    return int(row["count"])


async def test_an_assertion_authenticates_once() -> None:
    client, secret = await register()
    assert (secret, client.client_secret_hash, client.client_secret_encrypted) == ("", None, None)
    assertion = KEYS.assertion(client.client_id)
    assert await authenticate(None, form(assertion)) == client
    assert await refused(assertion) is Reason.REUSED
    assert await authenticate(None, form(KEYS.assertion(client.client_id), client_id=client.client_id)) == client


async def test_a_shared_secret_authenticates_once() -> None:
    client, secret = await register("client_secret_jwt")
    assertion = tokens.hmac_signed(secret.encode(), {"alg": "HS256"}, claims(client.client_id))
    assert await authenticate(None, form(assertion)) == client
    assert await refused(assertion) is Reason.REUSED


async def test_the_secret_that_signs_is_never_sent() -> None:
    """Otherwise it would lose its advantage: a server in between never sees it."""
    client, secret = await register("client_secret_jwt")
    with pytest.raises(InvalidClientError) as error:
        await authenticate(None, {"client_id": client.client_id, "client_secret": secret})
    assert error.value.reason is Reason.WRONG_AUTH_METHOD


async def test_a_new_secret_signs_from_then_on() -> None:
    client, old = await register("client_secret_jwt")
    new = await rotate_secret(client.client_id)
    await registry.load()
    assertions = [
        tokens.hmac_signed(secret.encode(), {"alg": "HS256"}, claims(client.client_id)) for secret in (old, new)
    ]
    assert await refused(assertions[0]) is Reason.BAD_SIGNATURE
    assert (await authenticate(None, form(assertions[1]))).client_id == client.client_id


async def test_a_secret_is_kept_encrypted_only_for_a_client_that_signs_with_it() -> None:
    client, secret = await register("client_secret_basic")
    assert client.client_secret_encrypted is None
    await rotate_secret(client.client_id)
    stored = await find_client(client.client_id)
    assert stored is not None
    assert stored.client_secret_encrypted is None
    await update_client(client.client_id, token_endpoint_auth_method="client_secret_jwt")
    await registry.load()
    unknown = tokens.hmac_signed(secret.encode(), {"alg": "HS256"}, claims(client.client_id))
    assert await refused(unknown) is Reason.BAD_SIGNATURE
    await rotate_secret(client.client_id)
    stored = await find_client(client.client_id)
    assert stored is not None
    assert stored.client_secret_encrypted is not None
    changed = await update_client(client.client_id, token_endpoint_auth_method="client_secret_post")
    assert changed.client_secret_encrypted is None
    assert changed.client_secret_hash is not None
    stored = await find_client(client.client_id)
    assert stored is not None
    assert stored.client_secret_encrypted is None


async def test_a_client_with_keys_loses_its_secret() -> None:
    client, secret = await register("client_secret_basic")
    changed = await update_client(client.client_id, token_endpoint_auth_method="private_key_jwt", jwks=KEYS.jwks())
    assert changed.client_secret_hash is None
    await registry.load()
    with pytest.raises(InvalidClientError):
        await authenticate(None, {"client_id": client.client_id, "client_secret": secret})


@pytest.mark.parametrize("alg", VERIFICATION_ALGORITHMS)
async def test_every_algorithm_of_the_list(alg: str) -> None:
    """Made by PyJWT and cryptography, because our own keys have fewer algorithms."""
    keys = tokens.foreign_key(alg)
    client, _ = await register(jwks={"keys": [keys.public_jwk]})
    assert await authenticate(None, form(keys.sign(claims(client.client_id)))) == client


AUDIENCES = [
    (ISSUER, "/token", True, True),
    ([ISSUER], "/token", True, False),
    (f"{ISSUER}/token", "/token", True, False),
    (f"{ISSUER}/token", "/par", True, False),
    (f"{ISSUER}/par", "/par", True, False),
    (f"{ISSUER}/introspect", "/introspect", True, False),
    ([ISSUER, f"{ISSUER}/token"], "/token", True, False),
    (f"{ISSUER}/par", "/token", False, False),
    (f"{ISSUER}/", "/token", False, False),
    (ISSUER.upper(), "/token", False, False),
    ("https://other.example", "/token", False, False),
    ([ISSUER, "https://other.example"], "/token", False, False),
    ([], "/token", False, False),
    ([None], "/token", False, False),
    ([[ISSUER]], "/token", False, False),
    ({}, "/token", False, False),
    (1, "/token", False, False),
    (None, "/token", False, False),
]


@pytest.mark.parametrize(("audience", "endpoint", "accepted", "by_fapi"), AUDIENCES, ids=str)
async def test_audiences(audience: Any, endpoint: str, accepted: bool, by_fapi: bool) -> None:
    """RFC 7523 section 3, item 3; FAPI 2.0 Security Profile section 5.3.2.1: the issuer, as a string."""
    client, _ = await register()
    fapi = _as_fapi(client)
    for one, fine in ((client, accepted), (fapi, by_fapi)):
        _replace(one)
        assertion = KEYS.assertion(client.client_id, aud=audience)
        if fine:
            assert await authenticate(None, form(assertion), endpoint) == one
        else:
            assert await refused(assertion, endpoint=endpoint) is Reason.WRONG_AUDIENCE


def _as_fapi(client: Client) -> Client:
    return msgspec.structs.replace(client, profile="fapi2")


def _replace(client: Client) -> None:
    """Put a client into the registry of this process only."""
    clients = dict(registry._records.clients) | {client.client_id: client}
    registry._records = msgspec.structs.replace(registry._records, clients=clients)


async def test_a_fapi_client_may_not_use_weak_algorithms() -> None:
    """FAPI 2.0 Security Profile section 5.4.1."""
    keys = ClientKeys("RS256")
    client, _ = await register(jwks=keys.jwks())
    assert await authenticate(None, form(keys.assertion(client.client_id))) == client
    _replace(_as_fapi(client))
    assert await refused(keys.assertion(client.client_id)) is Reason.MALFORMED


async def test_the_registered_algorithm_is_the_only_one() -> None:
    keys = ClientKeys("RS256", "ES256")
    client, _ = await register(jwks=keys.jwks("alg"), token_endpoint_auth_signing_alg="RS256")
    assert await refused(keys.assertion(client.client_id)) is Reason.MALFORMED
    keys.keys.reverse()
    assert (await authenticate(None, form(keys.assertion(client.client_id)))).client_id == client.client_id


NOW = int(time.time())
LIFETIME = settings().client_assertion_lifetime
MOMENTS: list[tuple[dict[str, Any], Reason | None]] = [
    ({"exp": 60}, None),
    ({"exp": 60.5, "iat": 0.25}, None),
    ({"exp": LIFETIME}, None),
    ({"exp": LIFETIME + MAX_AHEAD - 20, "iat": None}, None),
    ({"iat": MAX_AHEAD - 20}, None),
    ({"nbf": MAX_AHEAD - 20}, None),
    ({"iat": None}, None),
    ({"exp": None}, Reason.MALFORMED),
    ({"exp": "soon"}, Reason.MALFORMED),
    ({"exp": True}, Reason.MALFORMED),
    ({"exp": [1]}, Reason.MALFORMED),
    ({"exp": 10**30}, Reason.MALFORMED),
    ({"exp": float("inf")}, Reason.MALFORMED),
    ({"exp": 0}, Reason.EXPIRED),
    ({"exp": -3600}, Reason.EXPIRED),
    ({"exp": LIFETIME + MAX_AHEAD + 20, "iat": None}, Reason.MALFORMED),
    ({"exp": 86400}, Reason.MALFORMED),
    ({"exp": 30, "iat": -86400}, Reason.MALFORMED),
    ({"iat": MAX_AHEAD + 20}, Reason.NOT_YET_VALID),
    ({"nbf": MAX_AHEAD + 20}, Reason.NOT_YET_VALID),
    ({"nbf": "now"}, Reason.MALFORMED),
    ({"iat": {}}, Reason.MALFORMED),
]


@pytest.mark.parametrize(("changes", "reason"), MOMENTS, ids=str)
async def test_times(changes: dict[str, Any], reason: Reason | None) -> None:
    """Numbers are seconds from now."""
    client, _ = await register()
    now = int(time.time())
    moved = {
        name: now + value if type(value) in (int, float) and abs(value) < 10**9 else value
        for name, value in changes.items()
    }
    assertion = KEYS.assertion(client.client_id, **moved)
    if reason is None:
        assert await authenticate(None, form(assertion)) == client
    else:
        before = await used()
        assert await refused(assertion) is reason
        assert await used() == before


@pytest.mark.parametrize(
    "jti", [None, "", 1, ["a"], {"a": 1}, "x" * (MAX_JTI_LENGTH + 1)], ids=lambda jti: repr(jti)[:9]
)
async def test_a_jti_is_required(jti: Any) -> None:
    client, _ = await register()
    assert await refused(KEYS.sign(claims(client.client_id) | {"jti": jti})) is Reason.MALFORMED


async def test_a_jti_may_be_any_text() -> None:
    client, _ = await register()
    for jti in ("\0", "\u00e9\u4e00", "\\ud800", "x" * MAX_JTI_LENGTH):
        assertion = KEYS.assertion(client.client_id, jti=jti)
        assert await authenticate(None, form(assertion)) == client
        assert await refused(assertion) is Reason.REUSED


async def test_a_jti_is_that_of_one_client() -> None:
    for _ in range(2):
        client, _ = await register()
        assert await authenticate(None, form(KEYS.assertion(client.client_id, jti="the same"))) == client


@pytest.mark.parametrize("name", ["iss", "sub"])
@pytest.mark.parametrize("value", [None, "", 1, ["c"], "https://other.example"], ids=repr)
async def test_issuer_and_subject_are_the_client(name: str, value: Any) -> None:
    client, _ = await register()
    assertion = KEYS.sign({**claims(client.client_id), name: value})
    expected = (Reason.MALFORMED, Reason.WRONG_ISSUER, Reason.UNKNOWN_CLIENT)
    assert await refused(assertion) in expected


async def test_another_client_id_in_the_body() -> None:
    client, _ = await register()
    other, _ = await register()
    with pytest.raises(InvalidRequestError):
        await authenticate(None, form(KEYS.assertion(client.client_id), client_id=other.client_id))


@pytest.mark.parametrize(
    "typ", ["at+jwt", "dpop+jwt", "oauth-authz-req+jwt", "logout+jwt", "x", 1, ["JWT"], {"a": 1}], ids=str
)
async def test_a_token_of_another_type(typ: Any) -> None:
    client, _ = await register()
    assert await refused(KEYS.sign(claims(client.client_id), typ=typ)) in (Reason.WRONG_TYPE, Reason.MALFORMED)


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "application/jwt", "client-authentication+jwt"])
async def test_types(typ: str | None) -> None:
    client, _ = await register()
    assert await authenticate(None, form(KEYS.sign(claims(client.client_id), typ=typ))) == client


@pytest.mark.parametrize("kind", [None, "", "x", ASSERTION_TYPE.replace("jwt", "saml2"), ASSERTION_TYPE.upper()])
async def test_the_type_of_the_assertion(kind: str | None) -> None:
    client, _ = await register()
    sent = form(KEYS.assertion(client.client_id)) | {"client_assertion_type": kind}
    values = {name: value for name, value in sent.items() if value is not None}
    for more in ({}, {"client_id": client.client_id}):
        with pytest.raises(InvalidClientError) as error:
            await authenticate(None, values | more)
        assert error.value.reason is Reason.MALFORMED
        with pytest.raises(InvalidClientError):
            await authenticate(None, {"client_assertion_type": ASSERTION_TYPE} | more)


async def test_an_assertion_beside_another_method() -> None:
    client, _ = await register()
    other, secret = await register("client_secret_basic")
    for header, more in (
        (basic(f"{other.client_id}:{secret}"), {}),
        (None, {"client_id": other.client_id, "client_secret": secret}),
    ):
        with pytest.raises(InvalidRequestError):
            await authenticate(header, form(KEYS.assertion(client.client_id)) | more)


async def test_a_public_client_has_no_assertion() -> None:
    client, _ = await register_client(
        client_name="Spa", redirect_uris=["https://spa.example/cb"], token_endpoint_auth_method="none"
    )
    await registry.load()
    before = await used()
    assert await refused(KEYS.assertion(client.client_id)) is not None
    assert await used() == before


async def test_disabled_and_unknown_clients_use_up_nothing() -> None:
    client, _ = await register()
    await disable_client(client.client_id)
    await registry.load()
    before = await used()
    assert await refused(KEYS.assertion(client.client_id)) is Reason.CLIENT_DISABLED
    assert await refused(KEYS.assertion("no-such-client")) is Reason.UNKNOWN_CLIENT
    secret = tokens.hmac_signed(b"x" * 43, {"alg": "HS256"}, claims("no-such-client"))
    assert await refused(secret) is Reason.UNKNOWN_CLIENT
    assert await used() == before


async def test_keys_at_a_url() -> None:
    host = KeyHost(ClientKeys())
    client, _ = await register(jwks_uri=host.jwks_uri)
    try:
        assert await authenticate(None, form(host.keys.assertion(client.client_id))) == client
        assert await refused(ClientKeys().assertion(client.client_id)) is Reason.BAD_SIGNATURE
    finally:
        host.stop()
    assert len(host.requests) == 1
    dead, _ = await register(jwks_uri=f"{host.jwks_uri}/dead")
    assert await refused(KEYS.assertion(dead.client_id)) is Reason.KEYS_UNAVAILABLE


@pytest.mark.parametrize("left_out", [("kid",), ("kid", "alg"), ("kid", "alg", "use")], ids=str)
async def test_a_client_whose_keys_have_no_kid(left_out: tuple[str, ...]) -> None:
    """Also when it has several of one kind, and whether or not its assertions name one."""
    keys = ClientKeys("ES256", "ES256", "RS256")
    keys.keys.append(keys.keys.pop(1))
    client, _ = await register(jwks=keys.jwks(*left_out))
    assert await authenticate(None, form(keys.sign(claims(client.client_id), kid=None))) == client
    assert await refused(keys.sign(claims(client.client_id))) is Reason.BAD_SIGNATURE
    assert await refused(ClientKeys().sign(claims(client.client_id), kid=None)) is Reason.BAD_SIGNATURE


async def test_a_moved_clock(move_clock: MoveClock) -> None:
    client, _ = await register()
    assertion = KEYS.assertion(client.client_id)
    move_clock(61)
    assert await refused(assertion) is Reason.EXPIRED
    await delete_client(client.client_id)


@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
async def test_an_unknown_client_costs_a_verification_too(alg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that its refusal takes as long as that of a known one (row 31 of tests/attacks/)."""
    verified: list[str] = []
    verify = registered.verified

    def watch(*arguments: Any) -> Any:
        verified.append(alg)
        return verify(*arguments)

    client, _ = await register(jwks=ClientKeys(alg).jwks("kid"))
    monkeypatch.setattr(registered, "verified", watch)
    stranger = ClientKeys(alg)
    for client_id in (client.client_id, "no-such-client"):
        for header in ({"kid": None}, {}) if client_id == "no-such-client" else ({"kid": None},):
            assert await refused(stranger.sign(claims(client_id), **header)) is not None
            assert verified == [alg]
            verified.clear()
