"""Clients by document: the current metadata, and the row that a client has from the first consent on."""

from datetime import timedelta
from http import HTTPStatus
from uuid import UUID

import msgspec

from idp import clock
from idp.audit.events import record
from idp.errors import ConflictError, OAuthError, TryLaterError
from idp.infra.rate_limits import spend
from idp.oauth.clients import profiles
from idp.oauth.clients import repository as clients
from idp.oauth.clients.documents import budgets, identifiers, repository, resolver
from idp.oauth.clients.documents.document import MEMBERS
from idp.oauth.clients.documents.errors import DocumentError, invalid
from idp.oauth.clients.metadata import OPERATOR_MEMBERS, ClientMetadata, ends_tokens, metadata_of
from idp.oauth.clients.models import Client, StoredClient
from idp.oauth.clients.registration import change
from idp.oauth.clients.registry import registry
from idp.oauth.clients.stored import find_stored
from idp.oauth.sign_out import revoke_tokens_of_client
from idp.reasons import Reason
from idp.settings import DAY, settings

#: Seconds for which a client keeps its tokens while its document cannot be read.
STALE_SECONDS = DAY
#: Seconds for which an unused client is kept after its last token family has expired.
KEPT_SECONDS = 30 * DAY


class TooManyClientsError(ConflictError):
    """There are as many clients by document as the settings allow."""

    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__("No further application can be added at the moment.")


async def current(url: str) -> Client:
    """Return the client with its current document, which is fetched if the known one is too old.

    Raises:
        DocumentError: the host is not accepted, the client is disabled, or its document cannot be read.
        TryLaterError: too many documents are fetched.
    """
    identifiers.check(url)
    if registry.is_disabled(url):
        raise DocumentError("The client is disabled.", Reason.CLIENT_DISABLED)
    stored = registry.client(url)
    if stored is None:
        return _client(url, resolver.fresh.get(url) or await resolver.once(url, lambda: _fetch(url), stored=False))
    read = resolver.fresh.get(url)
    if read is not None and _merged(stored, read) == stored:
        return stored
    state = await repository.find_state(url)
    # Another worker may have stored another document than this one has read: neither is known to be the newer one.
    if read is None and state is not None and state.fresh_for > 0:
        resolver.fresh.put(url, metadata_of(stored), state.fresh_for)
        return stored
    return _merged(stored, await resolver.once(url, lambda: _refetch(url), stored=True))


async def authorized(url: str) -> Client | None:
    """Return the client if a user has allowed it before; None if not, so that an invented URL is never fetched.

    While its document cannot be read, it keeps the metadata of the last one for :data:`STALE_SECONDS`.
    """
    try:
        return await current(url) if registry.client(url) is not None else await find_stored(url)
    except (DocumentError, TryLaterError) as error:
        if error.reason in (Reason.CLIENT_DISABLED, Reason.DOCUMENT_NOT_ACCEPTED):
            return None
        state = await repository.find_state(url)
        return registry.client(url) if state is not None and state.age < STALE_SECONDS else None


def _client(url: str, metadata: ClientMetadata) -> Client:
    lifetime = settings().refresh_token_family_lifetime + KEPT_SECONDS
    expires_at = clock.now() + timedelta(seconds=lifetime)
    return registry.within_ceiling(
        Client(client_id=url, origin="document", expires_at=expires_at, **msgspec.structs.asdict(metadata))
    )


def _merged(stored: Client, metadata: ClientMetadata) -> Client:
    """Return a stored client with the members of its current document, and with those of the operator."""
    return registry.within_ceiling(
        msgspec.structs.replace(stored, **{name: getattr(metadata, name) for name in MEMBERS})
    )


async def store(client: Client, user_id: UUID) -> None:
    """Store a client by document that a user is about to allow, unless it is stored already.

    Raises:
        TooManyRequestsError: the user allowed too many new ones.
        TooManyClientsError: there are too many in all.
    """
    if registry.client(client.client_id) is not None:
        return
    await spend((budgets.CLIENTS_OF_USER, str(user_id)))
    metadata = resolver.fresh.get(client.client_id) or metadata_of(client)
    async with change():
        if await repository.count_clients() >= settings().client_id_metadata_max_clients:
            raise TooManyClientsError
        if await clients.insert_client(msgspec.structs.replace(client, scope=metadata.scope)):
            await repository.insert_state(client.client_id, settings().client_id_metadata_min_lifetime)
            await record(
                "client_registered", user_id=user_id, client_id=client.client_id, detail={"origin": "document"}
            )


async def keep(client: Client) -> None:
    """Postpone the expiry of a client by document, which gets a code now: no token outlives its client."""
    lifetime = settings().refresh_token_family_lifetime + KEPT_SECONDS
    if client.expires_at is not None and client.expires_at < clock.now() + timedelta(seconds=lifetime - DAY):
        await repository.keep_client(client.client_id, lifetime)


async def _fetch(url: str) -> ClientMetadata:
    metadata, lifetime = await resolver.fetch(url, stored=False)
    resolver.fresh.put(url, metadata, lifetime)
    return metadata


async def _refetch(url: str) -> ClientMetadata:
    """Fetch the document of a stored client, and store what changed in it."""
    metadata, lifetime = await resolver.fetch(url, stored=True)
    before = await clients.find_client(url)
    if before is not None and _changed(before, metadata):
        _check_profile(before, metadata)
        async with change():
            locked = await clients.lock_client(url)
            if locked is not None:
                await _save(locked, metadata)
        # This request must already see what changed, and so must the rest of its flow in this worker.
        await registry.load()
    await repository.update_state(url, lifetime)
    # Last: from here on, the row counts as current.
    resolver.fresh.put(url, metadata, lifetime)
    return metadata


def _check_profile(before: StoredClient, metadata: ClientMetadata) -> None:
    """Check a changed document against the profile that the operator set.

    Raises:
        DocumentError: it is not met.
    """
    try:
        profiles.check(msgspec.structs.replace(metadata, **{name: getattr(before, name) for name in OPERATOR_MEMBERS}))
    except OAuthError as error:
        raise invalid(error.description) from error


def _changed(before: StoredClient, metadata: ClientMetadata) -> list[str]:
    return sorted(name for name in MEMBERS if getattr(before, name) != getattr(metadata, name))


async def _save(before: StoredClient, metadata: ClientMetadata) -> None:
    """Store a changed document, in the caller's transaction."""
    changed = _changed(before, metadata)
    await clients.update_metadata(before.client_id, {name: getattr(metadata, name) for name in changed})
    if reason := ends_tokens(before, metadata):
        await revoke_tokens_of_client(before.client_id, reason)
    await record("client_document_changed", client_id=before.client_id, detail={"changed": changed})
