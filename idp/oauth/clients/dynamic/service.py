"""Registering, reading, changing and deleting a client by itself (RFC 7591 section 3, RFC 7592 section 2)."""

from typing import Any, NamedTuple

import msgspec

from idp import ids
from idp.audit.events import record
from idp.errors import InvalidTokenError, MissingTokenError, Refused
from idp.infra.request_context import actor
from idp.oauth.clients import profiles, service
from idp.oauth.clients import repository as clients
from idp.oauth.clients.authentication.secrets import has_secret
from idp.oauth.clients.dynamic import expiry, initial_tokens, limits, repository, request, statements
from idp.oauth.clients.dynamic.ceiling import of_settings, within
from idp.oauth.clients.dynamic.repository import Registration, UsableToken
from idp.oauth.clients.metadata import OPERATOR_MEMBERS, ClientMetadata, invalid_metadata
from idp.oauth.clients.models import Client, StoredClient
from idp.oauth.clients.registration import UnknownClientError, change, register_client, rotate_secret
from idp.oauth.clients.registry import registry
from idp.oauth.refusals import access_token_refused
from idp.reasons import Reason
from idp.settings import settings


class Registered(NamedTuple):
    """A client, as its response shows it.

    Attributes:
        secret: its new secret, if it has one.
        registration_token: its registration access token.
        software_statement: the one that it was registered with.
    """

    client: StoredClient
    registration_token: str
    secret: str | None = None
    software_statement: str | None = None


async def register(body: bytes, token: str | None) -> Registered:
    """Register a client.

    Args:
        token: the initial access token. Without one, the settings are the ceiling, and the client expires if it is not
            used.

    Raises:
        InvalidTokenError: the token is missing, unknown, expired or used up.
        OAuthError: ``invalid_redirect_uri``, ``invalid_client_metadata``, ``invalid_software_statement`` or
            ``unapproved_software_statement``.
        TooManyRequestsError: there were too many registrations without a token.
        TooManyClientsError: too many clients have registered themselves.
    """
    allowed = await _allowed(token)
    client_id, registration_token = str(ids.uuid7()), ids.random_token()
    ceiling = allowed.ceiling if allowed is not None else of_settings()
    sent = request.read(body)
    if allowed is None:
        await limits.count_registration()
    sent, statement = await statements.apply(sent)
    asked = within(request.metadata(sent, client_id, ceiling.max_bytes), ceiling)

    async def also(_client: Client) -> None:
        if allowed is not None:
            await initial_tokens.use(allowed)
            await repository.insert_registration(Registration(client_id, ceiling, statement), allowed.id)
        else:
            await expiry.check_number()
            await repository.insert_registration(Registration(client_id, None, statement), None)

    _client, secret = await register_client(
        client_id,
        origin="dynamic",
        expires_at=expiry.first_use_by() if allowed is None else None,
        registration_token_hash=ids.digest(registration_token),
        also=also,
        **_members(asked),
    )
    # This worker knows it at once. Others look for a new client that they do not know (`recent`).
    await registry.load()
    return Registered(await _stored(client_id), registration_token, secret, statement)


async def _allowed(token: str | None) -> UsableToken | None:
    """Return the initial access token; None if none is presented and none is needed."""
    if token is None:
        if settings().client_registration != "open":
            raise MissingTokenError
        return None
    allowed = await initial_tokens.find(token)
    actor.set(f"initial_access_token:{allowed.id}")
    return allowed


async def read(client_id: str, token: str | None) -> Registered:
    """Return a client with the token that it presented.

    Raises:
        InvalidTokenError: there is no such client, or this is not its registration access token.
    """
    presented, registration = await _authenticate(client_id, token)
    return Registered(await _stored(client_id), presented, software_statement=registration.software_statement)


async def update(client_id: str, token: str | None, body: bytes) -> Registered:
    """Replace what a client says about itself. It gets a new registration access token, and the old one ends.

    It gets a new secret if it needs one and has none that is valid.

    Raises:
        InvalidTokenError: there is no such client, or this is not its registration access token.
        OAuthError: as of :func:`register`.
        TooManyRequestsError: it changed too often.
    """
    presented, registration = await _authenticate(client_id, token)
    sent, secret = request.read_change(body, client_id)
    await limits.count_change(client_id)
    stored = await _stored(client_id)
    if secret is not None and await has_secret(secret)(stored) is not None:
        raise invalid_metadata("client_secret must be the current one. A client cannot choose it.")
    # It cannot be changed, so it need not be repeated.
    sent.setdefault("application_type", stored.application_type)
    sent, statement = await statements.apply(sent, registration.software_statement)
    ceiling = registration.ceiling or of_settings()
    asked = within(request.metadata(sent, client_id, ceiling.max_bytes), ceiling)
    asked = profiles.completed(msgspec.structs.replace(asked, profile=stored.profile), sent.keys())
    # What the operator decides stays as it is in the transaction, and not as it was before other servers were asked.
    # A level of its users may be one that the operator required later: it is set at registration only.
    kept = OPERATOR_MEMBERS | {"default_acr_values"}
    changes = {name: value for name, value in _members(asked).items() if name not in kept}
    if asked.public:
        changes["require_pkce"] = True
    new_token, new_secret = ids.random_token(), None

    async def also(client: Client) -> None:
        nonlocal new_secret
        if not await repository.rotate_registration_token(client_id, ids.digest(presented), ids.digest(new_token)):
            raise _refused()
        if statement is not None:
            await repository.set_statement(client_id, statement)
        newest = client.secrets[0] if client.secrets else None
        usable = newest is not None and newest.live and not (client.signs_with_secret and newest.encrypted is None)
        if client.has_secret and not usable:
            new_secret = await rotate_secret(client_id)

    try:
        await service.update_client(client_id, also=also, **changes)
    except UnknownClientError as error:
        raise _refused() from error
    await registry.load()
    return Registered(await _stored(client_id), new_token, new_secret, statement)


async def delete(client_id: str, token: str | None) -> None:
    """Delete a client and everything that was issued to it (RFC 7592 section 2.3).

    Raises:
        InvalidTokenError: there is no such client, or this is not its registration access token.
    """
    presented, _registration = await _authenticate(client_id, token)
    hashed = ids.digest(presented)
    async with change():
        if not await repository.rotate_registration_token(client_id, hashed, hashed):
            raise _refused()
        await service.delete_client(client_id)
    await registry.load()


async def rotate_token(client_id: str) -> str:
    """Replace the registration access token of a client and return the new one, for administrators.

    The old one ends immediately. A client whose token was revoked gets one again.

    Raises:
        UnknownClientError: no client with this id has registered itself.
    """
    token = ids.random_token()
    async with change():
        if not await repository.set_registration_token(client_id, ids.digest(token)):
            raise UnknownClientError("There is no client with this id that registered itself.")
        await record("registration_token_rotated", client_id=client_id)
    return token


def _members(metadata: ClientMetadata) -> dict[str, Any]:
    return msgspec.structs.asdict(metadata)


class _Authenticated(NamedTuple):
    """A registration access token, and the registration that it is for."""

    token: str
    registration: Registration


async def _authenticate(client_id: str, token: str | None) -> _Authenticated:
    """Check a registration access token. An unknown client, a disabled one and a wrong token are refused alike."""
    if token is None:
        raise MissingTokenError
    found = await repository.find_registration(client_id, ids.digest(token)) if "\0" not in client_id else None
    if found is None:
        raise _refused()
    actor.set(f"client:{client_id}")
    return _Authenticated(token, found)


def _refused() -> InvalidTokenError:
    refused = Refused(Reason.UNKNOWN)
    access_token_refused(refused, None, endpoint="registration")
    return InvalidTokenError(refused=refused)


async def _stored(client_id: str) -> StoredClient:
    """Return a client that was there a moment ago."""
    client = await clients.find_client(client_id)
    if client is None:
        raise _refused()
    return client
