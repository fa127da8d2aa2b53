"""The master key, the signing keys, and the mark that detects a restored backup."""

from collections.abc import Iterator
from datetime import timedelta

import asyncpg

from idp import clock
from idp.doctor.models import Context, Finding, Findings, error, note, ok, warning
from idp.keys import lifecycle, propagation, restore_detection, vault
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.lifecycle import KeyInfo, State
from idp.keys.repository import database_mark, root_keys
from idp.settings import DAY, Settings

#: Age in seconds of a key that is not rotated automatically, above which there is a warning.
OLD = 400 * DAY
#: Seconds that a rotation may be late: a key waits for services first.
LATE = 2 * DAY
#: Resource servers that a finding names.
NAMED = 3


async def check_master_key(_: Context) -> Findings:
    """See whether the master key opens the secrets in the database."""
    try:
        key = vault.master_key()
        if await root_keys.find_root_key(vault.master_key_id(key)) is None and await root_keys.has_root_key():
            yield error(
                "master_key_wrong",
                "The master key does not open the secrets in the database: no token can be signed.",
                "Restore the master key that belongs to this database, or name the right database.",
            )
            return
    except vault.SecretsError as failure:
        yield error("master_key_missing", failure.description, "Restore it from its copy.")
        return
    except asyncpg.UndefinedTableError:  # before the first migration
        return
    yield ok("The master key opens the secrets in the database.")
    if len(await root_keys.master_key_ids()) > 1:
        yield note(
            "master_key_change_unfinished",
            "An older master key opens the database too.",
            "When all servers run with the new one: idp keys rewrap --finish",
        )


async def check_signing_keys(context: Context) -> Findings:
    """Look at the age of each key, and at rotations that do not proceed."""
    keys = await lifecycle.list_keys()
    found = [*_active(keys, context.settings)]
    for key in keys:
        if key.state is State.PENDING:
            found += await _pending(key)
    for finding in found:
        yield finding
    if not found:
        yield ok("The signing keys are in time.")


def _active(keys: list[KeyInfo], settings: Settings) -> Iterator[Finding]:
    active = [key for key in keys if key.state is State.ACTIVE and key.activates_at is not None]
    if not any(key.alg == DEFAULT_ALGORITHM for key in active):
        yield error(
            "signing_key_missing",
            f"No {DEFAULT_ALGORITHM} key is active, so no token can be issued.",
            f"Run: idp keys generate --alg {DEFAULT_ALGORITHM}",
        )
    pending = {key.alg for key in keys if key.state is State.PENDING}
    for key in active:
        assert key.activates_at is not None  # noqa: S101 -- filtered above
        age = clock.now() - key.activates_at
        if settings.key_rotation_interval == 0 and age > timedelta(seconds=OLD):
            yield warning(
                "signing_key_old",
                f"The {key.alg} key {key.kid} has signed for {age.days} days, and keys are not rotated automatically.",
                f"Run: idp keys rotate --alg {key.alg}. Or set IDP_KEY_ROTATION_INTERVAL.",
            )
        late = timedelta(seconds=settings.key_rotation_interval + LATE)
        if settings.key_rotation_interval and age > late and key.alg not in pending:
            yield warning(
                "signing_key_overdue",
                f"The {key.alg} key {key.kid} is {age.days} days old, and its rotation has not begun.",
                "A running server begins it. Look for errors in its log, or run: idp keys rotate",
            )


async def _pending(key: KeyInfo) -> list[Finding]:
    unseen = await propagation.unseen(key.kid)
    waited = clock.now() - key.created_at
    if not unseen or waited < timedelta(seconds=DAY):
        return []
    until = "when they have" if key.deadline_at is None else "then, or at its deadline"
    return [
        warning(
            "signing_key_waits",
            f"The new {key.alg} key {key.kid} has waited {waited.days} days for {', '.join(unseen[:NAMED])}, which "
            f"have not fetched it. It signs {until}.",
            "Let these services fetch the JWKS, or delete those that are gone. By force: idp keys activate",
        )
    ]


async def check_mark(_: Context) -> Findings:
    """Compare the database with the mark beside the master key."""
    position, mark = await database_mark.position(), await restore_detection.keeper.known()
    if restore_detection.is_behind(position, mark):
        yield error(
            "database_restored",
            "The database is older than its mark: a backup was restored, and what was revoked since is valid again.",
            "Restart the server, which revokes what may have been used since, or run: idp db restored",
        )
    elif restore_detection.is_beside(position, mark):
        yield error(
            "keys_folder_shared",
            "Two databases in use share IDP_KEYS_DIR, so the restore of a backup may not be noticed.",
            "Give the copy an IDP_KEYS_DIR of its own.",
        )
    elif mark is None:
        yield note(
            "mark_missing",
            "There is no mark beside the master key yet, so the restore of a backup would not be noticed here.",
            "A running server writes it into IDP_KEYS_DIR. The folder must be writable, and survive a restart.",
        )
    else:
        yield ok("The database is as new as its mark.")
