"""Users, clients, codes and refresh tokens for the benchmarks, made by the product's code or inserted into tables."""

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from bench.load import FORM, Request
from idp import clock, ids
from idp.accounts.passwords import hash_password
from idp.infra.db.engine import engine, execute
from idp.oauth import codes as code_values
from idp.oauth.authorize import pushed as pushed_requests
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.oauth.token.refresh_jwt import new_refresh_token
from idp.signin import session_tokens
from idp.signin.browser import BrowserKey
from idp.signin.csrf import form_token
from idp.signin.http import key_cookies, session_cookies
from idp.signin.onward import FORM as FORM_OF_SIGN_IN

PASSWORD = "correct horse battery staple"
REDIRECT_URI = "https://client.example/callback"
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SCOPE = "openid profile email"
AMR, ACR = ["pwd"], "1"


class SigningClient:
    """A client that signs assertions and DPoP proofs with one ES256 key."""

    def __init__(self) -> None:
        self.client_id = str(ids.uuid7())
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))

    def assertion(self, issuer: str) -> dict[str, str]:
        """Return the parameters of private_key_jwt (RFC 7523 section 2.2)."""
        now = clock.timestamp()
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": issuer,
            "jti": ids.random_token(),
            "exp": now + 300,
        }
        return {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode(claims, self._key, "ES256"),
        }

    def proof(self, issuer: str) -> dict[str, str]:
        """Return the DPoP header of a token request (RFC 9449 section 4.2)."""
        claims = {"htm": "POST", "htu": f"{issuer}/token", "iat": clock.timestamp(), "jti": ids.random_token()}
        return {"DPoP": jwt.encode(claims, self._key, "ES256", headers={"typ": "dpop+jwt", "jwk": self.jwk})}

    def request(self, path: str, issuer: str, form: dict[str, str], **headers: str) -> Request:
        """Return a request that authenticates the client."""
        return Request("POST", path, FORM | headers, urlencode(self.assertion(issuer) | form))


class Sample:
    """The sample data.

    Attributes:
        client_id, authorization: a confidential client, and its Authorization header.
        workload: a client with private_key_jwt.
        bank: a client as in the FAPI 2.0 Security Profile.
    """

    def __init__(self, client_id: str, secret: str, workload: SigningClient, bank: SigningClient) -> None:
        self.client_id = client_id
        basic = httpx.BasicAuth(client_id, secret)._auth_header
        self.authorization = {"Authorization": basic}
        self.workload = workload
        self.bank = bank

    def token_request(self, **parameters: str) -> Request:
        return Request("POST", "/token", FORM | self.authorization, urlencode(parameters))


async def prepare() -> Sample:
    """Register a client with every grant, and a resource server for each algorithm."""
    for alg in ("RS256", "ES256"):
        await register_resource_server(
            f"https://{alg.lower()}.example", f"API, {alg}", scope="read write", access_token_signed_response_alg=alg
        )
    client, secret = await register_client(
        client_name="Benchmark",
        redirect_uris=[REDIRECT_URI],
        grant_types=["authorization_code", "refresh_token", "client_credentials"],
        scope=f"{SCOPE} groups roles offline_access read write",
        skip_consent=True,
    )
    assert secret is not None
    workload, bank = SigningClient(), SigningClient()
    await register_client(
        workload.client_id,
        client_name="Workload",
        grant_types=["client_credentials"],
        scope="read write",
        token_endpoint_auth_method="private_key_jwt",
        jwks={"keys": [workload.jwk]},
    )
    await register_client(
        bank.client_id,
        client_name="Bank",
        redirect_uris=[REDIRECT_URI],
        grant_types=["authorization_code", "refresh_token"],
        scope=SCOPE,
        token_endpoint_auth_method="private_key_jwt",
        jwks={"keys": [bank.jwk]},
        dpop_bound_access_tokens=True,
        require_pushed_authorization_requests=True,
        skip_consent=True,
    )
    return Sample(client.client_id, secret, workload, bank)


async def copy(table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert many rows with COPY, and let PostgreSQL count them, as autovacuum does in a minute.

    Otherwise a statement that was planned for an empty table keeps its plan. A table that autovacuum works on is passed
    over: waiting for its lock would cancel it, and dead rows would stay.
    """
    assert engine.pool is not None
    await engine.pool.copy_records_to_table(table, records=rows, columns=columns.split())
    await execute(f"ANALYZE (SKIP_LOCKED) {table}")


_PEOPLE = """
WITH person AS (
    INSERT INTO users (id, email, email_verified, password_hash, name, created_at, updated_at, phone_number_verified,
                       two_step, origin)
    SELECT id, email, true, $3, 'Alice Example', now(), now(), false, false, 'import'
    FROM unnest($1::uuid[], $2::text[]) AS a (id, email)
    RETURNING id, email
)
INSERT INTO user_email (email, user_id) SELECT email, id FROM person
"""


async def people(number: int) -> list[tuple[UUID, str]]:
    """Create users, all with :data:`PASSWORD`. Returns their ids and addresses."""
    password_hash = await hash_password(PASSWORD)
    made = [(ids.uuid7(), f"{secrets.token_hex(8)}@example.com") for _ in range(number)]
    await execute(_PEOPLE, [user for user, _ in made], [email for _, email in made], password_hash)
    await execute("ANALYZE users")
    return made


async def _sessions(users: Sequence[UUID]) -> list[tuple[UUID, str]]:
    """Create a session for each user. Returns their ids and tokens."""
    now, made = clock.now(), [(ids.uuid7(), session_tokens.new(user)) for user in users]
    columns = """
        id token_hash user_id auth_time steps amr acr user_agent ip_address
        created_at last_seen_at expires_at
    """
    later = now + timedelta(days=30)
    await copy(
        "session",
        columns,
        [
            (session, ids.digest(token), user, now, ["password pwd"], AMR, ACR, "", "", now, now, later)
            for (session, token), user in zip(made, users, strict=True)
        ],
    )
    return made


async def _codes(client_id: str, users: Sequence[UUID]) -> list[dict[str, str]]:
    """Create a code for each user. Returns the parameters of their redemptions."""
    now, tokens = clock.now(), [code_values.new(user) for user in users]
    columns = """
        code_hash family_id client_id user_id session_id redirect_uri code_challenge nonce
        scope resource offline_access auth_time auth_age amr acr trace_id created_at expires_at
    """
    later = now + timedelta(hours=1)
    await copy(
        "authorization_code",
        columns,
        [
            (ids.digest(token), ids.uuid7(), client_id, user, session, REDIRECT_URI, CHALLENGE, "n-0S6_WzA2Mj",
             SCOPE, [], False, now, 0, AMR, ACR, "0123456789abcdef", now, later)
            for token, user, (session, _) in zip(tokens, users, await _sessions(users), strict=True)
        ],
    )  # fmt: skip
    common = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
    return [{**common, "code": token} for token in tokens]


async def codes(sample: Sample, users: Sequence[UUID]) -> list[Request]:
    """Return a redemption for each user."""
    return [sample.token_request(**form) for form in await _codes(sample.client_id, users)]


def assertions(sample: Sample, issuer: str, number: int) -> list[Request]:
    """Return token requests of one client, each with another assertion."""
    form = {"grant_type": "client_credentials", "resource": "https://rs256.example"}
    return [sample.workload.request("/token", issuer, form) for _ in range(number)]


def pushes(sample: Sample, issuer: str, number: int) -> list[Request]:
    """Return requests to the PAR endpoint."""
    form = {
        "response_type": "code",
        "redirect_uri": REDIRECT_URI,
        "scope": SCOPE,
        "state": "af0ifjsldkj",
        "nonce": "n-0S6_WzA2Mj",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return [sample.bank.request("/par", issuer, form) for _ in range(number)]


async def pushed(sample: Sample, users: Sequence[UUID]) -> list[Request]:
    """Return for each user, who is signed in, the authorization request that names a pushed one."""
    client_id, now = sample.bank.client_id, clock.now()
    asked = AuthorizationRequest(
        client_id, REDIRECT_URI, "code", scope=tuple(SCOPE.split()), state="af0ifjsldkj", code_challenge=CHALLENGE
    ).to_json()
    uris = [f"{pushed_requests.PREFIX}{ids.random_token()}" for _ in users]
    later = now + timedelta(hours=1)
    await copy(
        "pushed_request",
        "request_uri_hash client_id request created_at expires_at",
        [(ids.digest(uri), client_id, asked, now, later) for uri in uris],
    )
    requests = []
    for uri, (_, token) in zip(uris, await _sessions(users), strict=True):
        cookie, *_ = session_cookies(token)
        path = f"/authorize?{urlencode({'client_id': client_id, 'request_uri': uri})}"
        requests.append(Request("GET", path, {"Cookie": f"{cookie.key}={cookie.value}"}))
    return requests


async def bound_codes(sample: Sample, issuer: str, users: Sequence[UUID]) -> list[Request]:
    """Return a redemption for each user, with an assertion and a DPoP proof."""
    bank = sample.bank
    return [bank.request("/token", issuer, form, **bank.proof(issuer)) for form in await _codes(bank.client_id, users)]


def proved_requests(sample: Sample, issuer: str, number: int) -> list[Request]:
    """Return token requests of a client with a secret, each with another DPoP proof."""
    plain = sample.token_request(grant_type="client_credentials", resource="https://rs256.example")
    return [
        msgspec.structs.replace(plain, headers=plain.headers | sample.workload.proof(issuer)) for _ in range(number)
    ]


async def refresh_tokens(sample: Sample, users: Sequence[UUID], scope: str = SCOPE) -> list[Request]:
    """Return a rotation for each user."""
    now, families = clock.now(), [ids.uuid7() for _ in users]
    made = [new_refresh_token(user, family, 14 * 86400) for user, family in zip(users, families, strict=True)]
    columns = """
        id client_id user_id session_id scope resource offline_access auth_time auth_age amr
        acr created_at expires_at
    """
    later = now + timedelta(days=90)
    await copy(
        "token_family",
        columns,
        [
            (family, sample.client_id, user, session, scope, [], False, now, 0, AMR, ACR, now, later)
            for family, user, (session, _) in zip(families, users, await _sessions(users), strict=True)
        ],
    )
    await copy(
        "refresh_token",
        "user_id jti family_id token_hash issued_at expires_at",
        [(r.user_id, r.jti, r.family_id, r.hash, r.issued_at, r.expires_at) for r in made],
    )
    return [sample.token_request(grant_type="refresh_token", refresh_token=refresh.token) for refresh in made]


async def sign_ins(issuer: str, emails: Sequence[str]) -> list[Request]:
    """Return the POST of the password form for each address, each in a separate sign-in flow and from another host."""
    now, keys = clock.now(), [BrowserKey.new() for _ in emails]
    bindings = [key.bind() for key in keys]
    columns = "id browser_hash return_to login_hint acr required_acr done turn trace_id created_at expires_at"
    later = now + timedelta(hours=1)
    await copy(
        "signin_flow",
        columns,
        [(binding.id, binding.hash, "/", "", "1", "1", [], 0, "", now, later) for binding in bindings],
    )
    requests = []
    for number, (key, binding, email) in enumerate(zip(keys, bindings, emails, strict=True)):
        cookie = key_cookies(key)[0]
        headers = FORM | {
            "Origin": issuer,
            "Cookie": f"{cookie.key}={cookie.value}",
            "X-Forwarded-For": f"2001:{secrets.randbelow(0x10000):x}:{number & 0xFFFF:x}::1",
        }
        form = {"csrf_token": form_token(binding.secret, FORM_OF_SIGN_IN), "username": email, "password": PASSWORD}
        requests.append(Request("POST", f"/login/{binding.id}/password", headers, urlencode(form)))
    return requests
