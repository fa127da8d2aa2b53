"""The statements on users and groups at targets. The two tables have the same columns but for the key."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from idp.errors import ConflictError
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one
from idp.provisioning.models import Claim, State

#: Seconds after which another attempt may begin, if one was killed. Longer than one may take.
CLAIM_SECONDS = 30.0


class RemoteTakenError(ConflictError):
    """The resource at the target is the one of another user or group here."""


class Subject(msgspec.Struct, frozen=True):
    """A user or a group at a target. ``queued``: a delivery waits."""

    id: UUID
    remote_id: str | None
    state: State
    sent_hash: bytes | None
    error: str
    queued: bool


class Sent(msgspec.Struct, frozen=True):
    """The result of an attempt. ``hash`` is of what the target has now; None: unknown."""

    remote_id: str | None
    state: State
    hash: bytes | None = None


class Subjects:
    """The statements on one of the two tables.

    Args:
        table: its name.
        key: the column that names the user or the group.
    """

    def __init__(self, table: str, key: str) -> None:
        wants = "(p.queued_until IS NULL OR p.queued_until < now() OR (a.urgent AND NOT p.queued_urgent))"
        marked = """queued_until = now() + make_interval(secs => a.seconds),
                    queued_urgent = a.urgent OR (p.queued_urgent AND p.queued_until >= now())"""
        asked = "SELECT unnest($2::uuid[]) AS id, $3::boolean AS urgent, $4::float8 AS seconds"
        # Both lock the rows in the order of their keys (no deadlock).
        self._mark_known = f"""
            WITH a AS MATERIALIZED (
                SELECT p.{key} AS id, $3::boolean AS urgent, $4::float8 AS seconds FROM {table} AS p
                WHERE p.target_id = $1 AND p.{key} = ANY ($2::uuid[]) ORDER BY p.{key} FOR UPDATE
            )
            UPDATE {table} AS p SET {marked} FROM a WHERE p.{key} = a.id AND p.target_id = $1 AND {wants}
            RETURNING p.{key} AS id
        """  # noqa: S608
        self._insert = f"""
            INSERT INTO {table} ({key}, target_id, state, error, updated_at)
            SELECT id, $1, 'absent', '', now() FROM ({asked}) AS a ORDER BY id ON CONFLICT DO NOTHING
        """  # noqa: S608
        self._forget_hash = f"UPDATE {table} SET sent_hash = NULL WHERE target_id = $1 AND {key} = ANY ($2::uuid[])"  # noqa: S608
        self._claim = f"""
            INSERT INTO {table} AS p ({key}, target_id, state, error, revision, claimed_until, updated_at)
            VALUES ($1, $2, 'absent', '', 1, now() + make_interval(secs => $3), now())
            ON CONFLICT ({key}, target_id) DO UPDATE
            SET revision = p.revision + 1, claimed_until = excluded.claimed_until, queued_until = NULL,
                queued_urgent = false
            WHERE p.claimed_until IS NULL OR p.claimed_until < now()
            RETURNING remote_id, state, sent_hash, revision
        """  # noqa: S608
        # If another attempt has begun meanwhile, what the target has now is unknown. It may be active, so the other
        # attempt does not count either, and a deactivation is sent again.
        self._record = f"""
            UPDATE {table} SET
                remote_id = CASE WHEN revision = $3 THEN $4 ELSE coalesce(remote_id, $4) END,
                state = CASE WHEN revision = $3 OR $5 = 'active' THEN $5 ELSE state END,
                sent_hash = CASE WHEN revision = $3 THEN $6::bytea END,
                error = CASE WHEN revision = $3 THEN '' ELSE error END,
                claimed_until = CASE WHEN revision = $3 THEN NULL ELSE claimed_until END,
                revision = CASE WHEN revision <> $3 AND $5 = 'active' THEN revision + 1 ELSE revision END,
                updated_at = now()
            WHERE {key} = $1 AND target_id = $2 RETURNING revision = $3 AS held
        """  # noqa: S608
        self._release = f"""
            UPDATE {table} SET claimed_until = NULL, error = $4 WHERE {key} = $1 AND target_id = $2 AND revision = $3
        """  # noqa: S608
        self._forget = f"DELETE FROM {table} WHERE {key} = $1 AND target_id = $2 AND revision = $3"  # noqa: S608
        self._unqueue = f"""
            UPDATE {table} SET queued_until = NULL, queued_urgent = false
            WHERE target_id = $1 AND queued_until IS NOT NULL
        """  # noqa: S608
        columns = f"p.{key} AS id, p.remote_id, p.state, p.sent_hash, p.error, "
        columns += "(p.queued_until > now() OR p.claimed_until > now()) IS TRUE AS queued"
        of_target = f"SELECT {columns} FROM {table} AS p WHERE p.target_id = $1"  # noqa: S608
        self._of_ids = f"{of_target} AND p.{key} = ANY ($2::uuid[])"
        self._of_remotes = f"{of_target} AND p.remote_id = ANY ($2::text[])"
        self._page = f"{of_target} AND p.{key} > $2 ORDER BY p.{key} LIMIT $3"
        self._see = f"UPDATE {table} SET seen_in = $2 WHERE target_id = $1 AND remote_id = ANY ($3::text[])"  # noqa: S608
        self._unseen = f"""
            {of_target} AND p.remote_id IS NOT NULL AND p.seen_in IS DISTINCT FROM $2 AND p.{key} > $3
            ORDER BY p.{key} LIMIT $4
        """
        self._active_there = f"""
            UPDATE {table} SET state = 'active', sent_hash = NULL
            WHERE target_id = $1 AND {key} = ANY ($2::uuid[]) AND remote_id IS NOT NULL
        """  # noqa: S608
        self._counts = f"""
            SELECT count(*) FILTER (WHERE state = 'active') AS active,
                   count(*) FILTER (WHERE state = 'inactive') AS inactive,
                   count(*) FILTER (WHERE error <> '') AS refused
            FROM {table} WHERE target_id = $1
        """  # noqa: S608

    async def mark(
        self, target_id: UUID, ids: Collection[UUID], *, urgent: bool, seconds: float, known_only: bool = False
    ) -> list[UUID]:
        """Mark that a delivery is queued, and return those of which none was.

        Args:
            seconds: the lifetime of the delivery.
            known_only: leave out those that were never considered for the target.
        """
        if not ids:
            return []
        values = (target_id, list(ids), urgent, seconds)
        if not known_only:
            await execute(self._insert, *values)
        return [row["id"] for row in await fetch(self._mark_known, *values)]

    async def forget_hashes(self, target_id: UUID, ids: Collection[UUID]) -> None:
        """Let the next delivery compare with the target, also if nothing has changed here."""
        await execute(self._forget_hash, target_id, list(ids))

    async def claim(self, id: UUID, target_id: UUID) -> Claim | None:
        """Begin an attempt; None: another one is under way. Marks of deliveries end, because this one sees everything
        that was committed before.
        """
        return one(Claim, await fetchrow(self._claim, id, target_id, CLAIM_SECONDS))

    async def record(self, id: UUID, target_id: UUID, claim: Claim, sent: Sent) -> bool:
        """Record the result of an attempt. Returns False if another one has begun meanwhile.

        Raises:
            RemoteTakenError: another user or group has this resource.
        """
        values = (claim.revision, sent.remote_id, sent.state.value, sent.hash)
        try:
            row = await fetchrow(self._record, id, target_id, *values)
        except asyncpg.UniqueViolationError as error:
            raise RemoteTakenError from error
        return row is not None and bool(row["held"])

    async def release(self, id: UUID, target_id: UUID, claim: Claim, error: str) -> None:
        """End an attempt that changed nothing that is known."""
        await execute(self._release, id, target_id, claim.revision, error)

    async def forget(self, id: UUID, target_id: UUID, claim: Claim) -> bool:
        """Remove what is known, because nothing is left at the target. False: another attempt has begun meanwhile."""
        return bool(await execute(self._forget, id, target_id, claim.revision))

    async def unqueue(self, target_id: UUID) -> None:
        """Remove all marks, because the deliveries were given up."""
        await execute(self._unqueue, target_id)

    async def of_ids(self, target_id: UUID, ids: Collection[UUID]) -> dict[UUID, Subject]:
        return {each.id: each for each in many(Subject, await fetch(self._of_ids, target_id, list(ids)))}

    async def of_remotes(self, target_id: UUID, remote_ids: Collection[str]) -> dict[str, Subject]:
        """Return those with these ids at the target, by that id."""
        found = many(Subject, await fetch(self._of_remotes, target_id, list(remote_ids)))
        return {each.remote_id: each for each in found if each.remote_id is not None}

    async def page(self, target_id: UUID, after: UUID, limit: int) -> Sequence[Subject]:
        """Return those of a target in the order of their ids."""
        return many(Subject, await fetch(self._page, target_id, after, limit))

    async def see(self, target_id: UUID, check_id: UUID, remote_ids: Collection[str]) -> None:
        """Record that a check has seen these at the target."""
        await execute(self._see, target_id, check_id, list(remote_ids))

    async def unseen(self, target_id: UUID, check_id: UUID, after: UUID, limit: int) -> Sequence[Subject]:
        """Return those that were sent to a target, and that a check has not seen there, in the order of their ids."""
        return many(Subject, await fetch(self._unseen, target_id, check_id, after, limit))

    async def active_there(self, target_id: UUID, ids: Collection[UUID]) -> None:
        """Record that these are active at the target, whatever was last sent."""
        await execute(self._active_there, target_id, list(ids))

    async def counts(self, target_id: UUID) -> dict[str, int]:
        """Return how many are ``active``, ``inactive`` and ``refused`` (the last attempt was refused)."""
        row = await fetchrow(self._counts, target_id)
        return dict(row) if row is not None else {}


users = Subjects("provisioned_user", "user_id")
groups = Subjects("provisioned_group", "group_id")


class ListedUser(msgspec.Struct, frozen=True):
    """A user at a target as administrators see it.

    Attributes:
        queued: whether a delivery waits.
        error: why the target refused the last attempt.
    """

    user_id: UUID
    remote_id: str | None
    state: State
    queued: bool
    error: str
    updated_at: datetime


PROVISIONED_USERS = Listing(
    source="provisioned_user AS p",
    columns="p.user_id, p.remote_id, p.state, coalesce(p.queued_until > now(), false) AS queued, p.error, p.updated_at",
    key=Sort("p.user_id", "uuid"),
    sorts={"user_id": Sort("p.user_id", "uuid")},
    default_sort="user_id",
    filters={
        "target_id": Filter("p.target_id = {}", "uuid", "At this target."),
        "user_id": Filter("p.user_id = {}", "uuid", "This user."),
        "state": Filter("p.state = {}", choices=tuple(State), help="In it, as last sent."),
        "refused": Filter("(p.error <> '') = {}", "boolean", "Whether the last attempt was refused."),
    },
)
