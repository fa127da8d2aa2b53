"""Links identities at providers to users, by issuer and subject. An email address never links an existing account."""

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from idp.accounts.attributes import provisioned as attributes
from idp.accounts.repository import users
from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import Origin, User
from idp.accounts.users import insert_user
from idp.audit.events import record
from idp.directory import organizations, provisioned
from idp.errors import ProofError
from idp.federation import repository
from idp.federation.models import Scalar, Upstream, UpstreamSession, UserInfo, origin_of
from idp.federation.repository import LinkedIdentity
from idp.infra.i18n import locale
from idp.keys import vault
from idp.mail import outbox
from idp.reasons import Reason


class AccountDisabledError(ProofError):
    """The account is disabled."""

    reason = Reason.USER_DISABLED


class ExternalIdentity(msgspec.Struct, frozen=True):
    """An identity that a provider confirmed, stored in the flow until the sign-in completes.

    Attributes:
        email: the address, verified or not.
        email_verified: the address was verified by a trusted provider or by our mail.
        tokens: the provider's tokens, encrypted, if they are to be stored.
        auth_time: time of the sign-in at the provider in seconds since the epoch, if the provider reports it.
        sid: the session at the provider, if the provider names it.
        proved: as in :class:`~idp.federation.models.UserInfo`.
        organization_id: the organization of the upstream. It speaks for this organization only.
    """

    upstream_id: str
    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    claims: dict[str, str]
    two_factors: bool = False
    tokens: bytes | None = None
    auth_time: int | None = None
    sid: str = ""
    proved: dict[str, tuple[Scalar, ...]] = {}
    organization_id: UUID | None = None

    @property
    def session(self) -> UpstreamSession:
        """The session at the provider."""
        return UpstreamSession(self.issuer, self.subject, self.sid)


def external_identity(upstream: Upstream, person: UserInfo) -> ExternalIdentity:
    """Return the part of a provider's response that is stored."""
    tokens = None
    if upstream.keep_tokens and person.tokens is not None:
        # json escapes lone surrogates, which msgspec cannot encode.
        tokens = vault.encrypt(json.dumps(person.tokens).encode(), _context(person.issuer, person.subject))
    return ExternalIdentity(
        upstream.id, person.issuer, person.subject, person.email, person.email_verified, person.claims,
        person.two_factors, tokens, person.auth_time, person.sid or "",
        dict(person.proved), upstream.organization_id,
    )  # fmt: skip


def _context(issuer: str, subject: str) -> str:
    return f"identity.tokens:{issuer} {subject}"


async def find_user(identity: ExternalIdentity, *, lock: bool) -> UUID | None:
    """Return the user of an identity, or None, and record its use, in the caller's transaction.

    An identity that another upstream linked is not found for an upstream of an organization, even from the same issuer.

    Args:
        lock: lock the user first. False if the transaction has locked one already.

    Raises:
        AccountDisabledError: the user is disabled.
    """
    user_id = await repository.owner_of_identity(identity.issuer, identity.subject)
    if user_id is None:
        return None
    if lock:
        await users.lock_user(user_id)
    owner = await repository.use_identity(
        user_id,
        identity.issuer,
        identity.subject,
        email=identity.email,
        tokens=identity.tokens,
        upstream_id=identity.upstream_id,
        linked_by_it=identity.organization_id is not None,
    )
    if owner is None:
        # It was unlinked, or its user deleted, in the meantime.
        return None
    if not owner.enabled:
        raise AccountDisabledError
    return owner.user_id


async def link(user_id: UUID, identity: ExternalIdentity) -> bool:
    """Link an identity to a user, in the caller's transaction. Returns False if another user has it."""
    inserted = await repository.insert_identity(
        user_id,
        identity.issuer,
        identity.subject,
        email=identity.email,
        tokens=identity.tokens,
        upstream_id=identity.upstream_id,
    )
    if not inserted:
        used = await repository.use_identity(
            user_id,
            identity.issuer,
            identity.subject,
            email=identity.email,
            tokens=identity.tokens,
            upstream_id=identity.upstream_id,
        )
        return used is not None
    await record("identity_linked", user_id=user_id, detail={"upstream": identity.upstream_id})
    return True


async def import_identity(user_id: UUID, issuer: str, subject: str, upstream_id: str | None) -> None:
    """Link an imported identity to a new user, in the caller's transaction.

    Args:
        upstream_id: None: the host of the issuer is shown as the name until the first sign-in.
    """
    name = upstream_id or urlsplit(issuer).hostname or issuer
    await repository.insert_identity(user_id, issuer, subject, upstream_id=name, used=False)


async def create_user(identity: ExternalIdentity) -> UUID | None:
    """Create a user with a verified address and the provider's claims, and link the identity.

    Runs in the caller's transaction. Returns None if another user has the address.
    """
    assert identity.email is not None and identity.email_verified  # noqa: S101, PT018
    claims: dict[str, Any] = {"locale": locale.get()} | identity.claims
    user = User(email=identity.email, email_verified=True, origin=Origin.UPSTREAM, **claims)
    if not await insert_user(user):
        return None
    await outbox.queue(identity.email, "welcome", name=user.name)
    await link(user.id, identity)
    return user.id


async def release_email(email: str, delete_factors: Callable[[UUID], Awaitable[object]]) -> None:
    """Remove an address from an account that registered with it and never verified it.

    Runs in the caller's transaction. The account stays, disabled and without credentials, so that the operator can
    inspect it. Other accounts are not changed.

    Args:
        delete_factors: deletes the authentication factors of a user, which belong to a package above this one.
    """
    user_id = await users.release_email(email)
    if user_id is None:
        return
    await delete_factors(user_id)
    await repository.delete_identities(user_id)
    await record("account_voided", user_id=user_id)


async def unlink(
    user_id: UUID,
    identity_id: UUID,
    *,
    by_mail: bool,
    passkeys_of: Callable[[UUID], Awaitable[Collection[object]]],
    is_directory: Callable[[str], bool] = lambda _: False,
) -> str | None:
    """Unlink an identity unless it is the last way to sign in, or has the user's password. In the caller's transaction.

    Args:
        by_mail: sign-in by email code is enabled.
        is_directory: whether an issuer is a directory. Its users without a password here stay linked: otherwise one
            could keep the account after leaving.
        passkeys_of: returns the passkeys of a user, which belong to a package above this one.

    Returns:
        the id of the upstream; None if nothing was unlinked.
    """
    # The user is locked, so that two concurrent calls do not remove the last two ways to sign in.
    await users.lock_user(user_id)
    user, linked = await user_by_id(user_id), await repository.identities_of(user_id)
    if user is None or not (
        user.password_hash is not None
        or (by_mail and user.email_verified)
        or len(linked) > 1
        or await passkeys_of(user_id)
    ):
        return None
    kept = {one.id for one in linked if is_directory(one.issuer)} if user.password_hash is None else set[UUID]()
    return await _unlink(user_id, identity_id, linked) if identity_id not in kept else None


async def _unlink(user_id: UUID, identity_id: UUID, linked: Sequence[LinkedIdentity]) -> str | None:
    upstream_id = await repository.delete_identity(user_id, identity_id)
    if upstream_id is not None:
        await users.mark_changed([user_id])
        await record("identity_unlinked", user_id=user_id, detail={"upstream": upstream_id})
        if all(identity.upstream_id != upstream_id for identity in linked if identity.id != identity_id):
            # Otherwise no later sign-in would take back what its rules gave.
            await provisioned.replace(user_id, origin_of(upstream_id))
            await attributes.replace(user_id, origin_of(upstream_id), {})
            await organizations.leave_of_origin(user_id, origin_of(upstream_id))
    return upstream_id


async def unlink_added_since(user_id: UUID, since: datetime, is_directory: Callable[[str], bool]) -> list[str]:
    """Unlink the identities that a user has got since a time, except those of directories, in the caller's transaction,
    which has locked the user. Returns the ids of their upstreams.
    """
    linked, found = await repository.identities_of(user_id), list[str]()
    for identity in list(linked):
        if identity.created_at >= since and not is_directory(identity.issuer):
            await _unlink(user_id, identity.id, linked)
            linked.remove(identity)
            found.append(identity.upstream_id)
    return found


async def notify(user_id: UUID, template: str, upstream_name: str) -> None:
    """Mail a user that an identity was linked or unlinked."""
    user = await user_by_id(user_id)
    if user is not None:
        await outbox.queue(user.email, template, language=user.locale, name=user.name, upstream=upstream_name)
