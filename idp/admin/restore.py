"""After an older backup was restored: end whatever may have been revoked, used or changed since it was made.

A restored database does not know what happened after the backup: a revoked key is published again, a used code can be
used again, a session that ended goes on. Nobody can tell which, so all of them end. What cannot be found out from the
database at all, as who was disabled since, the report names (docs/decisions/0041-a-mark-outside-the-database.md).
"""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from idp import clock
from idp.audit import checkpoint_export
from idp.audit.events import record
from idp.infra.db.cache_invalidation import announce
from idp.infra.db.engine import execute, long_transaction
from idp.infra.logs import exception_fields
from idp.keys import lifecycle, restore_detection
from idp.keys.lifecycle import State
from idp.keys.restore_detection import Mark, Position
from idp.oauth.clients import service
from idp.settings import settings

log = structlog.get_logger()

TOPIC = "restored"
#: A checkpoint outside may be later than the database by so much: clocks differ, and a replica that took over lagged.
TOLERATED = timedelta(seconds=restore_detection.TOLERATED * restore_detection.STEP_SECONDS)

#: What ends, and how. Codes come before the families that they would give.
_END = {
    "codes": "UPDATE authorization_code SET consumed_at = now() WHERE consumed_at IS NULL",
    "sessions": "UPDATE session SET ended_at = now() WHERE ended_at IS NULL",
    "token_families": "UPDATE token_family SET revoked_at = now(), revoked_reason = 'database_restored'"
    " WHERE revoked_at IS NULL",
    "signin_flows": "UPDATE signin_flow SET finished_at = now() WHERE finished_at IS NULL",
    "authorization_requests": "UPDATE authorization_request SET finished_at = now() WHERE finished_at IS NULL",
    "upstream_attempts": "UPDATE upstream_attempt SET consumed_at = now() WHERE consumed_at IS NULL",
    "email_proofs": "UPDATE email_proof SET consumed_at = now() WHERE consumed_at IS NULL",
    "invitations": "UPDATE invitation SET consumed_at = now() WHERE consumed_at IS NULL",
    "trusted_browsers": "UPDATE device SET trusted_until = NULL WHERE trusted_until IS NOT NULL",
    # They were sent since, or are about what has ended.
    "mails": "UPDATE mail SET state = 'dead', response = 'The database was restored.', content = NULL,"
    " next_attempt_at = NULL, finished_at = now() WHERE next_attempt_at IS NOT NULL",
}

_SHARED = (
    "Another database with the same root key writes the mark, and both are in use: a copy needs an IDP_KEYS_DIR of its"
    " own. Until then a restore of this database may not be noticed."
)

#: What the report asks people to look after, because the database cannot know it.
TO_CHECK = (
    "users and clients that were disabled or deleted since then: they are there again, and enabled",
    "admin roles that were taken away",
    "passwords, addresses, passkeys and authenticator apps that were changed or removed: the old ones work again",
    "client secrets and settings of clients, services and upstream providers that were changed",
    "consents that were withdrawn, and recovery codes that were used",
)


class Report(msgspec.Struct, frozen=True):
    """What was done after a restore.

    Attributes:
        since: what changed after this moment is not in the database; None: it has no idea.
        until: up to when a mark or checkpoint outside knows of operation; None: there is none.
        ended: how many of each kind of record.
        keys: the ``kid`` of each signing key that was revoked.
        to_check: what else may have changed, in plain words.
    """

    since: datetime | None
    until: datetime | None
    ended: dict[str, int]
    keys: list[str]
    to_check: tuple[str, ...] = TO_CHECK


async def restored(*, keep_keys: bool = False) -> Report:
    """End all that may have been revoked, used or changed since the backup that was restored was made.

    Args:
        keep_keys: the signing keys stay: somebody knows that none was revoked since.
    """
    async with long_transaction():
        # Others that notice the same wait, and then find an epoch.
        await announce(TOPIC)
        return await _recover(
            await restore_detection.position(), await restore_detection.keeper.known(), None, keep_keys=keep_keys
        )


async def look(*, thoroughly: bool = False) -> Report | None:
    """Compare the database with the mark; then let both go on.

    Args:
        thoroughly: compare with the checkpoints of the audit trail in a file outside, too.

    Returns:
        what was done, if the database is an older one.
    """
    if await _older(thoroughly=thoroughly) is None:
        await _go_on()
        return None
    async with long_transaction():
        await announce(TOPIC)
        older = await _older(thoroughly=thoroughly)
        if older is None:
            return None
        found, known, until = older
        report = await _recover(found, known, until, keep_keys=False)
    log.error("database_restored", reason=sentence(report), count=sum(report.ended.values()))
    return report


async def _go_on() -> None:
    """Let the number rise, and keep the mark, unless another database that is in use keeps its own there."""
    # The mark first: the database has come as far as any mark that it wrote before.
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
    """The database's position, the mark and the last moment known outside, if the database is an older one."""
    known, found = await restore_detection.keeper.known(), await restore_detection.position()
    if restore_detection.is_behind(found, known):
        return found, known, known.at if known else None
    path = settings().audit_checkpoint_file
    # Of two databases that share a folder, either may have written the checkpoints.
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
    for name, statement in _END.items():
        ended[name] = await execute(statement)
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
    """Revoke every key: retired ones too, which verify hints until they are revoked.

    Those that sign come last, so that none of the others takes their place.
    """
    keys = [key for key in await lifecycle.list_keys() if key.revoked_at is None]
    keys.sort(key=lambda key: key.state is State.ACTIVE)
    for key in keys:
        await lifecycle.revoke(key.kid)
    return [key.kid for key in keys]


def _text(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None


def sentence(report: Report) -> str:
    """What happened, in plain words."""
    since = _text(report.since) or "an unknown time"
    keys = f" {len(report.keys)} signing keys were revoked." if report.keys else ""
    return (
        f"This database is a backup: what happened after {since} is not in it."
        f" Everybody was signed out, and every code, token, link and invitation of before was withdrawn.{keys}"
        " See 'Restore' in docs/operations.md for what to look after."
    )


async def watch() -> None:
    """Compare again and again, for ever: a backup may be restored while the server runs."""
    failing = False
    while True:
        await asyncio.sleep(random.uniform(0.8, 1.2) * restore_detection.STEP_SECONDS)  # noqa: S311
        try:
            await look()
            failing = False
        except Exception as error:
            if not failing:
                log.warning("database_mark_failed", **exception_fields(error))
            failing = True
