"""The life cycle of a signing key: pending, active, retiring, retired, destroyed.

Other servers cache the JWKS, so a pending key is published before it signs: until every known resource server has
fetched it (:mod:`idp.keys.propagation`), or until its deadline. A retiring key stays published until all its tokens
have expired. Each change is one transaction; changes by several replicas run one after the other
(:func:`idp.infra.db.cache_invalidation.exclusive_change`).
"""

import asyncio
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from idp import clock
from idp.audit.events import record
from idp.errors import ConflictError, NoSigningKeyError
from idp.infra.db.cache_invalidation import exclusive_change
from idp.infra.db.engine import transaction
from idp.keys import jose, propagation
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.jose import SigningKey
from idp.keys.key_set import decrypt_private_key, encrypt_private_key
from idp.keys.repository import signing_keys
from idp.keys.repository.signing_keys import MARGIN, NewKey, StoredKey
from idp.settings import settings

TOPIC = "keys"
#: Resource servers that the event of a revocation names.
MAX_SERVICES = 50


class RotationPendingError(ConflictError):
    """A key of the algorithm is pending already. The message is a sentence for the operator."""

    code = "rotation_pending"


class UnknownKeyError(ConflictError):
    """No such key, or not in the required state. The message is a sentence for the operator."""


class State(StrEnum):
    """State of a key. Pending, active and retiring keys are in the JWKS."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    REVOKED = "revoked"
    DESTROYED = "destroyed"


#: States in which the private part of a key can be erased.
ERASABLE = (State.RETIRED, State.REVOKED)


class KeyInfo(msgspec.Struct, frozen=True):
    """A key without its private part.

    Attributes:
        deadline_at: when a pending key becomes active even if not all resource servers have fetched it. None: never.
        retires_at: when it leaves the JWKS. None as long as it has no successor.
        revoked_at: when it was removed from the JWKS early.
        signed: number of tokens that it has signed. Those of the last seconds are missing.
        last_token_expires_at: when the last of these tokens expires.
    """

    kid: str
    alg: str
    state: State
    created_at: datetime
    deadline_at: datetime | None
    activates_at: datetime | None
    retires_at: datetime | None
    revoked_at: datetime | None
    destroyed_at: datetime | None
    signed: int
    last_token_expires_at: datetime | None


class Revocation(msgspec.Struct, frozen=True):
    """The effects of revoking a key.

    Attributes:
        was: its state before.
        successor: the ``kid`` of the key that signs now. None if the revoked key was not active.
        signed: number of tokens that the key has signed. Those of the last seconds are missing.
        last_token_expires_at: when the last of these tokens expires. This server refuses them from now on, and each
            resource server once it has fetched the JWKS again.
        services: the resource servers whose tokens the key signs, and whether each has fetched the successor.
        event_id: its event in the audit trail.
    """

    kid: str
    alg: str
    was: State
    successor: str | None
    signed: int
    last_token_expires_at: datetime | None
    services: list[propagation.Witness]
    event_id: UUID | None = None


def overlap() -> int:
    """Return the seconds for which a key stays published after its successor has become active."""
    return max(settings().access_token_lifetime, settings().id_token_lifetime) + MARGIN


def _new(key: SigningKey) -> NewKey:
    return NewKey(key.alg, key.kid, msgspec.json.encode(key.public_jwk).decode(), encrypt_private_key(key))


async def ensure_signing_key(alg: str = DEFAULT_ALGORITHM, size: int = 2048) -> bool:
    """Create the first key of an algorithm, if there is none. Replicas may call it concurrently.

    The key is active at once, because there is no cached JWKS with a predecessor.

    Args:
        size: bits of an RSA key.

    Returns:
        whether this call created it.

    Raises:
        UnsupportedAlgorithmError: the algorithm or size is not supported.
    """
    if await signing_keys.active_kid(alg) is not None:
        return False
    key = await asyncio.to_thread(jose.generate, alg, size)
    async with exclusive_change(TOPIC):
        if not await signing_keys.create_first(_new(key)):
            return False
        await record("key_activated", detail={"kid": key.kid, "alg": alg})
    return True


async def publish(key: SigningKey, *, deadline: int | None = None) -> str:
    """Publish a key and return its ``kid``. It becomes active once every resource server has fetched it.

    Args:
        deadline: seconds after which it becomes active in any case. None: never.

    Raises:
        RotationPendingError: another key of the algorithm is pending, or this one was published before.
    """
    async with exclusive_change(TOPIC):
        if not await signing_keys.publish(_new(key), deadline):
            raise await _rotation_pending(key.alg)
        await record("key_published", detail={"kid": key.kid, "alg": key.alg, "deadline": deadline})
    return key.kid


async def rotate(alg: str, size: int = 2048, *, now: bool = False, deadline: int | None = None) -> str:
    """Replace the active key of an algorithm and return the ``kid`` of the new one.

    Args:
        size: bits of an RSA key.
        now: activate the new key, or the pending one, immediately. Resource servers cannot verify its tokens until they
            fetch the JWKS again.
        deadline: see :func:`publish`.

    Raises:
        NoSigningKeyError: there is no key to replace.
        RotationPendingError: a new key is pending already.
        UnknownKeyError: the pending key was revoked at the same moment.
        UnsupportedAlgorithmError: the size is not supported.
    """
    if await signing_keys.active_kid(alg) is None:
        raise NoSigningKeyError(alg)
    pending = await signing_keys.pending_key(alg)
    if pending is not None and not now:
        raise await _rotation_pending(alg)
    if pending is not None:
        try:
            await activate(pending.kid)
        except UnknownKeyError:
            # The rotation job has activated it since.
            if await signing_keys.active_kid(alg) != pending.kid:
                raise
        return pending.kid
    key = await asyncio.to_thread(jose.generate, alg, size)
    async with transaction():
        await publish(key, deadline=deadline)
        if now:
            await activate(key.kid)
    return key.kid


async def activate(kid: str, *, unseen: tuple[str, ...] = ()) -> None:
    """Activate a pending key. Its predecessor stays published for verification until its last token has expired.

    Args:
        unseen: the resource servers that have not fetched it, for the audit trail.

    Raises:
        UnknownKeyError: no pending key has this ``kid``.
    """
    async with exclusive_change(TOPIC):
        key = await signing_keys.activate(kid, overlap())
        if key is None:
            raise _refused(await find_key(kid), "Only a pending key can be activated.")
        detail = {"kid": kid, "alg": key.alg, "predecessor": key.predecessor, "unseen": unseen}
        await record("key_activated", detail=detail)


async def revoke(kid: str) -> Revocation:
    """Remove a compromised key from the JWKS immediately. If it is active, another key replaces it.

    A retired key still verifies hints (:meth:`idp.keys.key_set.KeySet.hinting`). A revoked key does not.

    Raises:
        UnknownKeyError: there is no such key, or it is revoked already.
    """
    found = await find_key(kid)
    if found is None or found.revoked_at is not None:
        raise _refused(found, "It is not in the JWKS.")
    # Generated before the transaction that may need it: an RSA key takes long, and other changes wait for the lock.
    gone = found.state in (State.RETIRED, State.DESTROYED)
    spare = None if gone else await asyncio.to_thread(jose.generate, found.alg)
    async with exclusive_change(TOPIC):
        signs = await signing_keys.active_kid(found.alg) == kid
        successor = await _successor(found.alg, spare) if signs and spare is not None else None
        if not await signing_keys.revoke(kid):
            raise _refused(await find_key(kid), "It is not in the JWKS.")
        services = await propagation.view(successor or kid)
        periods = {server.identifier: server.period for server in services[:MAX_SERVICES]}
        detail = {"kid": kid, "alg": found.alg, "successor": successor, "services": periods}
        event_id = await record("key_revoked", detail=detail)
    return Revocation(
        kid, found.alg, found.state, successor, found.signed, found.last_token_expires_at, services, event_id
    )  # fmt: skip


async def _successor(alg: str, spare: SigningKey) -> str:
    """Activate another key: the pending one, which some servers have fetched already, or else the spare one."""
    pending = await signing_keys.pending_key(alg)
    successor = pending.kid if pending is not None else await publish(spare)
    await activate(successor)
    return successor


async def destroy(kid: str) -> None:
    """Erase the private part of a key that is :data:`ERASABLE`.

    Raises:
        UnknownKeyError: no such key has this ``kid``.
    """
    async with exclusive_change(TOPIC):
        if not await signing_keys.destroy(kid):
            raise _refused(await find_key(kid), "Only the private part of a retired or a revoked key can be erased.")
        await record("key_destroyed", detail={"kid": kid})


async def export(kid: str, *, private: bool = False) -> SigningKey:
    """Return a key for export. The export of a private part is recorded.

    Raises:
        UnknownKeyError: there is no such key, or its private part has been erased.
        SecretsError: the master key is not the one of this database.
    """
    key = await signing_keys.find_key(kid)
    if key is None or (private and key.private_jwk is None):
        raise UnknownKeyError("There is no key with this id" + (" that has a private part." if private else "."))
    if not private or key.private_jwk is None:
        return jose.from_public_jwk(msgspec.json.decode(key.public_jwk))
    exported = decrypt_private_key(kid, key.private_jwk)
    await record("key_exported", detail={"kid": kid})
    return exported


async def _rotation_pending(alg: str) -> RotationPendingError:
    pending = await signing_keys.pending_key(alg)
    if pending is None:
        return RotationPendingError("This key was published before.")
    until = f", or until {pending.deadline_at:%Y-%m-%d %H:%M:%S %Z}" if pending.deadline_at else ""
    return RotationPendingError(
        f"A new {alg} key, {pending.kid}, is published already and waits until all resource servers have fetched"
        f" it{until}. To use it at once: `idp keys rotate --now`."
    )


def _refused(found: KeyInfo | None, rule: str) -> UnknownKeyError:
    return UnknownKeyError(f"This key is {found.state}. {rule}" if found else "There is no key with this id.")


def _state(key: StoredKey, now: datetime) -> State:
    if key.destroyed_at is not None:
        return State.DESTROYED
    if key.revoked_at is not None:
        return State.REVOKED
    if key.retires_at is not None and key.retires_at <= now:
        return State.RETIRED
    if key.activates_at is None or key.activates_at > now:
        return State.PENDING
    return State.ACTIVE if key.kid == key.signing else State.RETIRING


def info(key: StoredKey) -> KeyInfo:
    """Return a key with its state."""
    values = {name: getattr(key, name) for name in KeyInfo.__struct_fields__ if name != "state"}
    return KeyInfo(state=_state(key, clock.now()), **values)


async def find_key(kid: str) -> KeyInfo | None:
    """Return a key in any state, or None."""
    return next((key for key in await list_keys() if key.kid == kid), None)


async def list_keys() -> list[KeyInfo]:
    """Return all keys, destroyed ones too, by algorithm, oldest first."""
    return [info(key) for key in await signing_keys.list_keys(clock.now())]
