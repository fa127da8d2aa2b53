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
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.oauth.token.refresh_jwt import new_refresh_token
from idp.signin.browser import BrowserKey
from idp.signin.csrf import form_token
from idp.signin.http import key_cookies
from idp.signin.pages import PURPOSE

PASSWORD = "correct horse battery staple"
REDIRECT_URI = "https://client.example/callback"
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SCOPE = "openid profile email"
AMR, ACR = ["pwd"], "1"


class Sample:
    """The sample data.

    Attributes:
        client_id, authorization: a confidential client, and its Authorization header.
    """

    def __init__(self, client_id: str, secret: str) -> None:
        self.client_id = client_id
        basic = httpx.BasicAuth(client_id, secret)._auth_header
        self.authorization = {"Authorization": basic}

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
        scope=f"{SCOPE} offline_access read write",
        skip_consent=True,
    )
    assert secret is not None
    return Sample(client.client_id, secret)


async def copy(table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert many rows with COPY."""
    assert engine.pool is not None
    await engine.pool.copy_records_to_table(table, records=rows, columns=columns.split())


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
    return made


async def _sessions(users: Sequence[UUID]) -> list[UUID]:
    now, made = clock.now(), [ids.uuid7() for _ in users]
    columns = """
        id token_hash user_id auth_time steps amr acr user_agent ip_address
        created_at last_seen_at expires_at
    """
    later = now + timedelta(days=30)
    await copy(
        "session",
        columns,
        [
            (session, secrets.token_bytes(32), user, now, ["password:pwd"], AMR, ACR, "", "", now, now, later)
            for session, user in zip(made, users, strict=True)
        ],
    )
    return made


async def codes(sample: Sample, users: Sequence[UUID]) -> list[Request]:
    """Return a redemption for each user."""
    now, tokens = clock.now(), [code_values.new(user) for user in users]
    columns = """
        code_hash family_id client_id user_id session_id redirect_uri code_challenge nonce
        scope resource offline_access auth_time auth_age amr acr created_at expires_at
    """
    later = now + timedelta(hours=1)
    await copy(
        "authorization_code",
        columns,
        [
            (ids.digest(token), ids.uuid7(), sample.client_id, user, session, REDIRECT_URI, CHALLENGE, "n-0S6_WzA2Mj",
             SCOPE, [], False, now, 0, AMR, ACR, now, later)
            for token, user, session in zip(tokens, users, await _sessions(users), strict=True)
        ],
    )  # fmt: skip
    common = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
    return [sample.token_request(**common, code=token) for token in tokens]


def proved_requests(sample: Sample, issuer: str, number: int) -> list[Request]:
    """Return token requests of one client, each with another DPoP proof."""
    key = ec.generate_private_key(ec.SECP256R1())
    header = {"typ": "dpop+jwt", "jwk": json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))}
    plain = sample.token_request(grant_type="client_credentials", resource="https://rs256.example")
    claims = {"htm": "POST", "htu": f"{issuer}/token", "iat": clock.timestamp()}
    proofs = (jwt.encode(claims | {"jti": f"{at:032x}"}, key, "ES256", headers=header) for at in range(number))
    return [msgspec.structs.replace(plain, headers=plain.headers | {"DPoP": proof}) for proof in proofs]


async def refresh_tokens(sample: Sample, users: Sequence[UUID]) -> list[Request]:
    """Return a rotation for each user."""
    now, families = clock.now(), [ids.uuid7() for _ in users]
    made = [new_refresh_token(user, family) for user, family in zip(users, families, strict=True)]
    columns = """
        id client_id user_id session_id scope resource offline_access auth_time auth_age amr
        acr created_at expires_at
    """
    later = now + timedelta(days=90)
    await copy(
        "token_family",
        columns,
        [
            (family, sample.client_id, user, session, SCOPE, [], False, now, 0, AMR, ACR, now, later)
            for family, user, session in zip(families, users, await _sessions(users), strict=True)
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
    columns = "id browser_hash return_to login_hint acr required_acr done turn created_at expires_at"
    later = now + timedelta(hours=1)
    await copy(
        "signin_flow",
        columns,
        [(binding.id, binding.hash, "/", "", "1", "1", [], 0, now, later) for binding in bindings],
    )
    requests = []
    for number, (key, binding, email) in enumerate(zip(keys, bindings, emails, strict=True)):
        cookie = key_cookies(key)[0]
        headers = FORM | {
            "Origin": issuer,
            "Cookie": f"{cookie.key}={cookie.value}",
            "X-Forwarded-For": f"2001:{secrets.randbelow(0x10000):x}:{number & 0xFFFF:x}::1",
        }
        form = {"csrf_token": form_token(binding.secret, PURPOSE), "username": email, "password": PASSWORD}
        requests.append(Request("POST", f"/login/{binding.id}/password", headers, urlencode(form)))
    return requests
