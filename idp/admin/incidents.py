"""Containment of a compromised user, client, key or upstream.

One transaction revokes everything that it was issued. The report lists what stays usable and until when: tokens that
resource servers validate offline cannot be revoked.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from idp import clock
from idp.accounts import users
from idp.accounts.last_owner import check_owner_remains
from idp.accounts.repository import invitations
from idp.accounts.repository.users import lock_user
from idp.admin.bulk import service as bulk
from idp.audit.events import record
from idp.audit.repository.audit_events import EVENTS
from idp.directory.repository import invitations as organization_invitations
from idp.errors import NotFoundError
from idp.events.ssf.streams import disable_streams_of
from idp.federation import registry
from idp.federation import repository as federation
from idp.infra.db.engine import transaction
from idp.infra.db.listing import find
from idp.keys import lifecycle
from idp.oauth.authorize.repository import finish_requests_of_client, use_pushed_of_client
from idp.oauth.ciba import repository as backchannel
from idp.oauth.clients import registration, service
from idp.oauth.clients.dynamic.repository import revoke_registration_token
from idp.oauth.clients.registration import UnknownClientError
from idp.oauth.credentials import credentials_changed
from idp.oauth.device import repository as device_authorizations
from idp.oauth.repository import consents, families
from idp.oauth.sign_out import revoke_tokens_of_client
from idp.settings import settings
from idp.signin.factors.repository import count_without_other_method
from idp.signin.repository import signin_flows
from idp.signin.repository.sessions import end_sessions, sessions_of_upstream

#: Names of a list that the audit trail keeps.
MAX_NAMES = 50


class StillUsable(msgspec.Struct, frozen=True):
    """Something that stays usable because it cannot be revoked.

    Attributes:
        what: a description.
        where: the resource servers or applications that accept it.
        until: the latest expiry; None: unknown.
    """

    what: str
    where: list[str]
    until: datetime | None


class Report(msgspec.Struct, frozen=True):
    """The result of a containment.

    Attributes:
        kind: ``user``, ``client``, ``key`` or ``upstream``.
        ended: the number of revoked records of each kind.
        still_usable: what stays usable.
        alone: for an upstream, the number of users without another authentication method.
        event_id: its event in the audit trail, from which :func:`report_of` makes the report again.
    """

    kind: str
    id: str
    ended: dict[str, int]
    still_usable: list[StillUsable]
    alone: int = 0
    event_id: UUID | None = None


class UnknownSubjectError(NotFoundError):
    """There is no record of this kind with this id."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(message or f"There is no {kind} with this id.")


async def contain_user(user_id: UUID, *, disable: bool = True, keep_owner: bool = True) -> Report:
    """Revoke everything issued to a user and end their pending flows.

    Args:
        disable: also disable the user.
        keep_owner: see :func:`idp.accounts.users.disable_user`.

    Raises:
        UnknownSubjectError: there is no such user.
        LastOwnerError: the last owner would be disabled.
    """
    async with transaction():
        # The lock of an UPDATE without key change: a concurrent redemption that references the row can finish first.
        if not await lock_user(user_id):
            raise UnknownSubjectError("user")
        if disable and keep_owner:
            await check_owner_remains(user_id)
        applications = await families.client_names_of_user(user_id)
        usable = _tokens(await families.resources_of_user(user_id))
        usable += _own_sessions(applications)
        if disable:
            await users.disable_user(user_id, _nothing, keep_owner=False, reason="user_contained")
        ended = await credentials_changed(user_id, "user_contained")
        ended["consents"] = await consents.delete_consents_of_user(user_id)
        ended["invitations"] = await invitations.revoke_invitations_of_user(user_id)
        ended["organization_invitations"] = await organization_invitations.revoke_invitations_of_user(user_id)
        ended["bulk_jobs"] = await bulk.cancel_of(f"user:{user_id}")
        report = Report("user", str(user_id), dict(ended), usable)
        event_id = await record("user_contained", user_id=user_id, detail=_detail(report) | {"disabled": disable})
    return msgspec.structs.replace(report, event_id=event_id)


async def _nothing(_user_id: UUID, _reason: str) -> None:
    """Passed to disabling as its callback: this function has revoked and counted everything itself."""


async def contain_client(client_id: str, *, disable: bool = True) -> Report:
    """Revoke everything issued to a client, its registration access token too, delete its consents, disable its event
    streams and reject its remaining tokens.

    Raises:
        UnknownSubjectError: there is no such client.
    """
    async with transaction():
        try:
            await service.advance_not_before(client_id, clock.now())
        except UnknownClientError as error:
            raise UnknownSubjectError("client") from error
        usable = _tokens(await families.resources_of_client(client_id))
        usable += _own_sessions([client_id])
        ended = await revoke_tokens_of_client(client_id, "client_contained")
        await registration.end_previous_secret(client_id)
        ended["registration_access_tokens"] = await revoke_registration_token(client_id)
        if disable:
            await registration.disable_client(client_id)
        ended["consents"] = await consents.delete_consents_of_client(client_id)
        ended["authorization_requests"] = await finish_requests_of_client(client_id)
        ended["pushed_requests"] = await use_pushed_of_client(client_id)
        ended["bulk_jobs"] = await bulk.cancel_of(f"client:{client_id}")
        ended["event_streams"] = await disable_streams_of(client_id, "The client was contained.")
        report = Report("client", client_id, dict(ended), usable)
        event_id = await record("client_contained", client_id=client_id, detail=_detail(report) | {"disabled": disable})
    return msgspec.structs.replace(report, event_id=event_id)


async def contain_key(kid: str) -> Report:
    """Revoke a signing key; see :func:`idp.keys.lifecycle.revoke`.

    Raises:
        UnknownSubjectError: there is no such key, or it is revoked already.
    """
    try:
        revoked = await lifecycle.revoke(kid)
    except lifecycle.UnknownKeyError as error:
        raise UnknownSubjectError("key", str(error)) from error
    periods = {server.identifier: server.period for server in revoked.services}
    return msgspec.structs.replace(_report_of_key(kid, periods), event_id=revoked.event_id)


def _report_of_key(kid: str, periods: Mapping[str, float | None]) -> Report:
    # Not the expiry of its last token: the holder of a stolen key can sign tokens of any lifetime.
    usable = [
        StillUsable(
            "Tokens signed with it, until the service fetches the JWKS again"
            + (f", which it does every {period:.0f} s" if period else ""),
            [identifier],
            None,
        )
        for identifier, period in periods.items()
    ]
    usable.append(StillUsable("ID tokens signed with it, until an application fetches the JWKS again", [], None))
    return Report("key", kid, {"keys": 1}, usable)


async def contain_upstream(upstream_id: str) -> Report:
    """Disable an upstream and revoke everything that came from sign-ins with it.

    Raises:
        UnknownSubjectError: there is no such upstream, or it is configured by settings.
    """
    async with transaction():
        if upstream_id in {known.id for known in registry.from_settings(settings())}:
            raise UnknownSubjectError("upstream", "It is one of the settings: unset its client id and restart.")
        if upstream_id not in {known.id for known in await registry.load_stored()}:
            raise UnknownSubjectError("upstream")
        await registry.disable(upstream_id)
        ended = Counter[str]()
        ended["upstream_attempts"] = await federation.consume_requests_of_upstream(upstream_id)
        # Before the flows, in the order of a sign-in with an upstream.
        ended["upstream_tokens"] = await federation.delete_tokens_of_upstream(upstream_id)
        # Flows before sessions: one that finishes at the same moment has its session afterwards. Then in the order of
        # idp.oauth.sign_out.sign_out_user, for the same reasons.
        flow_ids = await federation.flows_of_upstream(upstream_id)
        ended["signin_flows"] = await signin_flows.finish_flows_of_upstream(upstream_id, flow_ids)
        sessions = await sessions_of_upstream(upstream_id)
        ended["sessions"] = await end_sessions(sessions, "upstream_contained")
        ended["codes"] = await families.consume_codes_of_sessions(sessions)
        # Not by the sessions: what was allowed in them can outlive them.
        ended["device_authorizations"] = await device_authorizations.cancel_of_upstream(upstream_id)
        ended["backchannel_requests"] = await backchannel.cancel_of_upstream(upstream_id)
        ended["token_families"] = await families.revoke_families_of_upstream(upstream_id, "upstream_contained")
        # The session in which an administrator asked for one may have ended before.
        ended["bulk_jobs"] = 0
        for user_id in await federation.users_at_upstream(await bulk.users_with_jobs(), upstream_id):
            ended["bulk_jobs"] += await bulk.cancel_of(f"user:{user_id}")
        # Those that a flow stored meanwhile.
        ended["upstream_tokens"] += await federation.delete_tokens_of_upstream(upstream_id)
        alone = await count_without_other_method(upstream_id)
        usable = _tokens([]) if sessions or ended["token_families"] else []
        report = Report("upstream", upstream_id, dict(ended), usable, alone)
        event_id = await record("upstream_contained", detail=_detail(report) | {"upstream": upstream_id})
    return msgspec.structs.replace(report, event_id=event_id)


def _detail(report: Report) -> dict[str, Any]:
    """Return what the audit trail keeps of a report: without names beyond the first of a long list."""
    usable = [msgspec.structs.replace(each, where=each.where[:MAX_NAMES]) for each in report.still_usable]
    alone = {"alone": report.alone} if report.alone else {}
    return {"ended": report.ended, "still_usable": msgspec.to_builtins(usable), **alone}


class _Detail(msgspec.Struct):
    """The detail of an event of a containment."""

    ended: dict[str, int] = {}
    still_usable: list[StillUsable] = []
    alone: int = 0
    upstream: str = ""
    kid: str = ""
    services: dict[str, float | None] = {}


async def report_of(event_id: str) -> Report:
    """Return the report of a containment, from its event in the audit trail.

    Raises:
        UnknownSubjectError: there is no such event.
    """
    row = await find(EVENTS, id=event_id)
    if row is None or row["event"] not in REPORTED:
        raise UnknownSubjectError("containment")
    detail = msgspec.json.decode(row["detail"], type=_Detail)
    if row["event"] == "key_revoked":
        return msgspec.structs.replace(_report_of_key(detail.kid, detail.services), event_id=row["id"])
    ids = {"user": str(row["user_id"]), "client": row["client_id"], "upstream": detail.upstream}
    kind = _CONTAINED[row["event"]]
    return Report(kind, ids[kind], detail.ended, detail.still_usable, detail.alone, row["id"])


#: Events of containments, and what was contained.
_CONTAINED = {"user_contained": "user", "client_contained": "client", "upstream_contained": "upstream"}
#: Events with a report.
REPORTED = (*_CONTAINED, "key_revoked")


def _tokens(resources: list[str]) -> list[StillUsable]:
    """Return the access tokens that resource servers validate offline, with their latest expiry.

    Args:
        resources: the known audiences. An empty name stands for this server, which checks revocation itself.
    """
    now = clock.now()
    where = sorted({resource for resource in resources if resource}) or ["services that validate offline"]
    return [
        StillUsable(
            "Access tokens, at services that validate offline",
            where,
            now + timedelta(seconds=settings().access_token_lifetime),
        ),
        StillUsable(
            "ID tokens, at applications that received them", [], now + timedelta(seconds=settings().id_token_lifetime)
        ),
    ]


def _own_sessions(applications: list[str]) -> list[StillUsable]:
    if not applications:
        return []
    return [StillUsable("The applications' own sessions", applications, None)]
