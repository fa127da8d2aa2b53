"""Revocation after an older backup was restored.

A restored database does not know what happened after the backup: a revoked key is published again, a used code is
valid again, an ended session continues. They cannot be told from others, so all keys, codes and sessions end. The
report names what the database cannot know, such as users disabled since
(docs/decisions/0041-a-mark-outside-the-database.md).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import structlog

from idp import clock
from idp.accounts.repository import email_proofs, invitations
from idp.admin.bulk import service as bulk
from idp.audit import checkpoint_export
from idp.audit.events import record
from idp.directory.repository import invitations as organization_invitations
from idp.federation import repository as federation
from idp.infra.db.engine import long_transaction
from idp.infra.db.locks import lock
from idp.infra.logs import exception_fields
from idp.keys import lifecycle, restore_detection
from idp.keys.lifecycle import State
from idp.keys.repository import database_mark
from idp.keys.repository.database_mark import Position
from idp.keys.restore_detection import Mark
from idp.mail import repository as mails
from idp.oauth.authorize.repository import finish_all_requests, use_all_pushed
from idp.oauth.ciba import repository as backchannel
from idp.oauth.clients import service
from idp.oauth.device import repository as device_authorizations
from idp.oauth.repository import families
from idp.settings import settings
from idp.signin.repository import devices, sessions, signin_flows

log = structlog.get_logger()

TOPIC = "restored"
#: Tolerated lead of an exported checkpoint, in seconds: clocks differ, and a promoted replica may lag.
TOLERATED = timedelta(seconds=restore_detection.TOLERATED * database_mark.STEP_SECONDS)

#: The functions that revoke, by kind, in their order: first what can start a session, then sessions, codes and token
#: families. Something that is used at the same time finds its predecessor ended, or is ended by what follows.
_END: dict[str, Callable[[], Awaitable[int]]] = {
    "trusted_browsers": devices.distrust_all_devices,
    "invitations": invitations.revoke_all_invitations,
    "organization_invitations": organization_invitations.revoke_all_invitations,
    "email_proofs": email_proofs.consume_all_proofs,
    "upstream_attempts": federation.consume_all_requests,
    "signin_flows": signin_flows.finish_all_flows,
    "authorization_requests": finish_all_requests,
    "pushed_requests": use_all_pushed,
    "sessions": partial(sessions.end_all_sessions, "database_restored"),
    "codes": families.consume_all_codes,
    "device_authorizations": device_authorizations.cancel_all,
    "backchannel_requests": backchannel.cancel_all,
    "token_families": partial(families.revoke_all_families, "database_restored"),
    # They may have been cancelled since. A step of a job locks its job last.
    "bulk_jobs": bulk.cancel_all,
    # These messages were sent since, or concern sessions and tokens that have ended.
    "mails": partial(mails.give_up_all, "The database was restored."),
}

_SHARED = (
    "Another database with the same root key writes the mark, and both are in use: a copy needs an IDP_KEYS_DIR of its"
    " own. Until then a restore of this database may not be noticed."
)

#: What the report asks the operator to check, because the database cannot know it.
TO_CHECK = (
    "users and clients that were disabled or deleted since then: they exist again and are enabled",
    "admin roles that were revoked",
    "passwords, addresses, passkeys and authenticator apps that were changed or removed: the old ones work again",
    "client secrets and settings of clients, services and upstream providers that were changed",
    "consents that were withdrawn, and recovery codes that were used",
    "tokens of SCIM and of client registration that were deleted or rotated: the old ones work again",
)


class Report(msgspec.Struct, frozen=True):
    """The result of a revocation after a restore.

    Attributes:
        since: changes after this time are missing from the database; None: unknown.
        until: the last time of operation known from a mark or checkpoint; None: unknown.
        ended: the number of revoked records of each kind.
        keys: the ``kid`` of each revoked signing key.
        to_check: what else may have changed, as sentences.
    """

    since: datetime | None
    until: datetime | None
    ended: dict[str, int]
    keys: list[str]
    to_check: tuple[str, ...] = TO_CHECK


async def revoke_after_restore(*, keep_keys: bool = False) -> Report:
    """Revoke everything that may have been revoked, used or changed since the backup was made.

    Args:
        keep_keys: keep the signing keys, because none was revoked since.
    """
    async with long_transaction():
        # Other workers that detect the same restore wait here and then find the new epoch.
        await lock(TOPIC)
        return await _recover(
            await database_mark.position(), await restore_detection.keeper.known(), None, keep_keys=keep_keys
        )


async def check(*, thoroughly: bool = False) -> Report | None:
    """Compare the database with the mark outside it, and advance both.

    Args:
        thoroughly: also compare with the exported checkpoints of the audit trail.

    Returns:
        the report, if an older database was detected.
    """
    if await _older(thoroughly=thoroughly) is None:
        await _go_on()
        return None
    async with long_transaction():
        await lock(TOPIC)
        older = await _older(thoroughly=thoroughly)
        if older is None:
            return None
        found, known, until = older
        report = await _recover(found, known, until, keep_keys=False)
    log.error("database_restored", reason=summary(report), count=sum(report.ended.values()))
    return report


async def _go_on() -> None:
    """Advance the position and write the mark, unless another live database owns the mark."""
    # Read the mark first: the database is never behind a mark that it wrote.
    known = await restore_detection.keeper.known()
    found = await restore_detection.advance()
    if restore_detection.is_beside(found, known):
        if not restore_detection.keeper.foreign:
            log.error("database_mark_shared", path=str(settings().database_mark_path), reason=_SHARED)
        restore_detection.keeper.foreign = True
        return
    restore_detection.keeper.foreign = False
    if found is not None:
        await restore_detection.keeper.keep(found)


async def _older(*, thoroughly: bool) -> tuple[Position | None, Mark | None, datetime | None] | None:
    """Return position, mark and last known time if the database is older than the mark; otherwise None."""
    known, found = await restore_detection.keeper.known(), await database_mark.position()
    if restore_detection.is_behind(found, known):
        return found, known, known.at if known else None
    path = settings().audit_checkpoint_file
    # If two databases share a folder, either may have written the checkpoints.
    if not thoroughly or path is None or restore_detection.is_beside(found, known):
        return None
    statement = await checkpoint_export.last_written(path)
    if statement is None:
        return None
    latest = max(at for at in (found.at, found.restored_at) if at is not None) if found else None
    return None if latest is not None and statement.at <= latest + TOLERATED else (found, known, statement.at)


async def _recover(
    found: Position | None, known: Mark | None, until: datetime | None, *, keep_keys: bool
) -> Report:  # fmt: skip
    ended = Counter[str]()
    for name, end in _END.items():
        ended[name] = await end()
    await service.set_not_before(None, clock.now())
    keys = [] if keep_keys else await _replace_keys()
    await restore_detection.begin_epoch(known)
    report = Report(found.at if found else None, until or (known.at if known else None), dict(ended), keys)
    await record(
        "database_restored",
        detail={"since": _text(report.since), "until": _text(report.until), "ended": ended, "keys": keys},
    )
    return report


async def _replace_keys() -> list[str]:
    """Revoke every key, including retired ones, which verify hints until they are revoked.

    Active keys come last, so that no other old key replaces them.
    """
    keys = [key for key in await lifecycle.list_keys() if key.revoked_at is None]
    keys.sort(key=lambda key: key.state is State.ACTIVE)
    for key in keys:
        await lifecycle.revoke(key.kid)
    return [key.kid for key in keys]


def _text(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None


def summary(report: Report) -> str:
    """Describe a report in one sentence."""
    since = _text(report.since) or "an unknown time"
    keys = f" {len(report.keys)} signing keys were revoked." if report.keys else ""
    return (
        f"This database is a backup: what happened after {since} is not in it."
        f" All users were signed out, and all earlier codes, tokens, links and invitations were revoked.{keys}"
        " See docs/backup-and-restore.md for what to check."
    )


async def watch() -> None:
    """Repeat the comparison forever: a backup may be restored while the server runs."""
    failing = False
    while True:
        await asyncio.sleep(random.uniform(0.8, 1.2) * database_mark.STEP_SECONDS)  # noqa: S311
        try:
            await check()
            failing = False
        except Exception as error:
            if not failing:
                log.warning("database_mark_failed", **exception_fields(error))
            failing = True
