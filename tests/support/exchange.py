"""Token exchange without a browser: subject tokens, clients and resource servers, in this process."""

import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.infra.db.engine import execute
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.oauth.clients.registry import registry
from idp.oauth.details.models import Details
from idp.oauth.exchange import registration, token_types
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.token import client_credentials, token_exchange
from idp.oauth.token.grant import Grant
from idp.oauth.token.issuer import TokenResponse, issue
from idp.oauth.token.repository.families import insert_family

_SESSION = """
INSERT INTO session (user_id, id, token_hash, auth_time, steps, amr, acr, user_agent, ip_address, last_seen_at,
                     expires_at)
VALUES ($1, $2, $3, now(), '{}', '{}', '1', '', '', now(), now() + interval '1 hour')
"""


async def an_api(scope: str = "", *, client: Client | None = None) -> str:
    """Register a resource server and return its identifier.

    Args:
        client: the client that it is itself, when it asks for tokens.
    """
    identifier = f"https://{secrets.token_hex(6)}.example.com"
    await register_resource_server(identifier, "API", scope=scope, client_id=client.client_id if client else None)
    await registry.load()
    return identifier


async def a_service(scope: str = "", **metadata: Any) -> Client:
    """Register a client that may exchange tokens, as soon as it has a policy."""
    grants = ["client_credentials", token_exchange.GRANT_TYPE]
    given = {"client_name": "Service", "grant_types": grants, "scope": scope} | metadata
    client, _ = await register_client(**given)
    await registry.load()
    return client


async def an_app(scope: str, **metadata: Any) -> Client:
    """Register a client that users sign in to."""
    uris = [f"https://{secrets.token_hex(6)}.example.com/callback"]
    given = {"client_name": "App", "redirect_uris": uris, "scope": scope} | metadata
    client, _ = await register_client(**given)
    await registry.load()
    return client


async def allow(client: Client, *resources: str, **values: Any) -> ExchangePolicy:
    """Add a policy, by default for delegation."""
    policy = await registration.add(client.client_id, **({"mode": "delegation", "resources": resources} | values))
    await registry.load()
    return policy


@dataclass
class SignedIn:
    """A user who is signed in to a client, with the tokens that it got."""

    grant: Grant
    access_token: str
    id_token: str

    @property
    def session_id(self) -> UUID:
        assert self.grant.session_id is not None
        return self.grant.session_id


async def sign_in(
    client: Client,
    user: User,
    resource: tuple[str, ...] = (),
    *,
    scope: str | None = None,
    confirmation: Confirmation | None = None,
    details: Details = (),
    organization_id: UUID | None = None,
) -> SignedIn:
    """Sign a user in to a client, with all of its scopes by default."""
    session_id = ids.uuid7()
    await execute(_SESSION, user.id, session_id, secrets.token_bytes(32))
    grant = Grant(
        family_id=ids.uuid7(),
        user_id=user.id,
        session_id=session_id,
        scope=client.scope if scope is None else scope,
        resource=resource,
        claims=None,
        authorization_details=msgspec.json.encode(details).decode() if details else None,
        nonce=None,
        auth_time=clock.now(),
        auth_age=0,
        amr=("pwd",),
        acr="1",
        organization_id=organization_id,
    )
    stored = await insert_family(grant, client.client_id, 3600)
    assert stored is not None
    grant = stored
    if details:
        change = "UPDATE token_family SET authorization_details = $2::jsonb WHERE id = $1"
        await execute(change, grant.family_id, grant.authorization_details)
    given = await issue(client, grant, grant_type="authorization_code", confirmation=confirmation)
    return SignedIn(grant, given.access_token, given.id_token or "")


def proves(confirmation: Confirmation | None) -> Any:
    async def prove() -> Confirmation | None:
        return confirmation

    return prove


async def own_token(client: Client, resource: str | None = None) -> str:
    """Return an access token of a client in its own name."""
    form = {} if resource is None else {"resource": resource}
    return (await client_credentials.issue(client, form, proves(None))).access_token


async def exchange(
    client: Client, subject_token: str, *, proved: Confirmation | None = None, **form: str | None
) -> TokenResponse:
    """Exchange a token, by default an access token."""
    given = {"subject_token": subject_token, "subject_token_type": token_types.ACCESS_TOKEN} | form
    if "actor_token" in given:
        given = {"actor_token_type": token_types.ACCESS_TOKEN} | given
    sent = {name: value for name, value in given.items() if value is not None}
    return await token_exchange.exchange(client, sent, proves(proved))


async def refusal(client: Client, subject_token: str, **more: Any) -> tuple[str, str]:
    """Return the error and the reason of an exchange that is refused."""
    try:
        await exchange(client, subject_token, **more)
    except OAuthError as error:
        return error.code, str(error.reason or "")
    raise AssertionError("The token was exchanged.")
