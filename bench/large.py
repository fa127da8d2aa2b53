"""The figures of growth: a large database compared with an empty one, and the clean-up of millions of rows."""

import asyncio
import statistics
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from uuid import UUID

import asyncpg
import msgspec

from bench import sample
from bench.figures import Bench, Figure, Part, paired
from bench.load import Result
from bench.setting import beside, turn_to
from idp.accounts.passwords import hash_password
from idp.infra.db.engine import fetch

#: The load for figures of growth: few concurrent requests, so that none waits for a CPU.
FEW = 4
#: Maximum time for which a statement of the clean-up may hold its locks, in milliseconds.
LOCK_MS = 50
#: Maximum share of dead rows in a table.
BLOAT_PERCENT = 10


class Scale(msgspec.Struct, frozen=True):
    """The number of rows of each kind, and of deliveries."""

    users: int = 1_000_000
    refresh_tokens_of_user: int = 10
    audit_events_of_user: int = 5
    expired: int = 5_000_000
    deliveries: int = 10_000

    def of(self, part: float) -> "Scale":
        """Return a smaller scale. Fewer than a thousand deliveries would measure the start of the sender."""
        return msgspec.structs.replace(
            self,
            users=int(self.users * part),
            expired=int(self.expired * part),
            deliveries=max(1000, int(self.deliveries * part)),
        )


_USERS = """
WITH person AS MATERIALIZED (
    SELECT uuidv7() AS id, n, 'person' || n || '@large.example' AS email FROM generate_series(1, $1::int) AS n
), taken AS (INSERT INTO user_email (email, user_id) SELECT email, id FROM person)
INSERT INTO users (id, email, email_verified, password_hash, name, created_at, updated_at, phone_number_verified,
                   two_step, origin)
SELECT id, email, true, $2::text, 'Person ' || n, now(), now(), false, false, 'import' FROM person
"""
_SESSIONS = """
INSERT INTO session (id, token_hash, user_id, auth_time, steps, amr, acr, user_agent, ip_address, created_at,
                     last_seen_at, expires_at)
SELECT uuidv7(), sha256(id::text::bytea), id, now(), '{password:pwd}', '{pwd}', '1', 'Mozilla/5.0', '192.0.2.1',
       now(), now(), now() + interval '30 days'
FROM users
"""
_FAMILIES = """
INSERT INTO token_family (id, client_id, user_id, session_id, scope, resource, offline_access, auth_time, auth_age,
                          amr, acr, created_at, expires_at)
SELECT uuidv7(), $1, user_id, id, 'openid profile email', '{}', false, now(), 0, '{pwd}', '1', now(),
       now() + interval '90 days'
FROM session
"""
_REFRESH_TOKENS = """
INSERT INTO refresh_token (user_id, jti, family_id, token_hash, issued_at, expires_at, rotated_at)
SELECT f.user_id, uuidv7(), f.id, sha256((f.id::text || n)::bytea), now(), now() + interval '14 days',
       CASE WHEN n < $1 THEN now() END
FROM token_family AS f, generate_series(1, $1::int) AS n
"""
# With positions in the trail before all others: the server would be busy assigning positions to rows without one.
_AUDIT_EVENTS = """
INSERT INTO audit_event (id, at, event, outcome, actor, user_id, client_id, ip_address, request_id, detail, seq)
SELECT uuidv7(), clock_timestamp(), 'sign_in', 'success', '', u.id, NULL, '192.0.2.1',
       left(replace(uuidv7()::text, '-', ''), 20), '{"amr": ["pwd"]}', -row_number() OVER ()
FROM users AS u, generate_series(1, $1::int)
"""
_EXPIRED = """
INSERT INTO refresh_token (user_id, jti, family_id, token_hash, issued_at, expires_at, rotated_at)
SELECT f.user_id, uuidv7(), f.id, sha256((f.id::text || n)::bytea), now() - interval '20 days',
       now() - interval '6 days' - random() * interval '1 day', now()
FROM (SELECT user_id, id FROM token_family ORDER BY id LIMIT greatest(1, $1 / 10)) AS f, generate_series(1, 10) AS n
"""


async def fill_users(dsn: str, number: int) -> None:
    """Insert users who can sign in."""
    password_hash = await hash_password(sample.PASSWORD)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_USERS, number, password_hash)
    finally:
        await connection.close()


async def fill(dsn: str, client_id: str, scale: Scale) -> None:
    """Insert the rows of several months of use."""
    await fill_users(dsn, scale.users)
    connection = await asyncpg.connect(dsn)
    try:
        for statement, *arguments in (
            (_SESSIONS,),
            (_FAMILIES, client_id),
            (_REFRESH_TOKENS, scale.refresh_tokens_of_user),
            (_AUDIT_EVENTS, scale.audit_events_of_user),
        ):
            await connection.execute(statement, *arguments)
        await connection.execute("VACUUM (ANALYZE)")
        # Everything must be on disk, or the measurement would include writing it.
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


People = Sequence[tuple[UUID, str]]


async def _users(number: int) -> People:
    """Return ids and addresses of users from all over the table."""
    statement = "SELECT id, email FROM users WHERE email LIKE '%@large.example' ORDER BY md5(email) LIMIT $1"
    return [(row["id"], row["email"]) for row in await fetch(statement, number)]


async def _refresh(bench: Bench, people: People) -> Result:
    users = [user for user, _ in people]
    return bench.load(*await sample.refresh_tokens(bench.sample, users), connections=FEW, once=True)


async def _sign_in(bench: Bench, people: People) -> Result:
    emails = [email for _, email in people[: int(bench.seconds * 100)]]
    return bench.load(*await sample.sign_ins(bench.product.issuer, emails), connections=1, once=True)


async def growth(bench: Bench, scale: Scale) -> Figure:
    """Fill the database. Then measure it and an empty one in turn."""
    await fill(bench.dsn, bench.sample.client_id, scale)
    users = await _users(bench.enough)

    async def p50(load: Callable[[Bench, People], Awaitable[Result]], of: Bench, people: People) -> float:
        await turn_to(of)
        return (await load(of, people)).p50

    async with beside(bench) as small:
        few = await sample.people(bench.enough)
        parts = [
            await paired(bench, f"p50 of {name}", partial(p50, load, bench, users), partial(p50, load, small, few))
            for name, load in (("refresh", _refresh), ("sign-in", _sign_in))
        ]
    rows = (scale.users, scale.users * scale.refresh_tokens_of_user, scale.users * scale.audit_events_of_user)
    name = "{:,} users, {:,} refresh rows, {:,} audit rows: p50 of refresh and of sign-in".format(*rows)
    return Figure.of(name, "ms", "<= 1.10", parts)


class _Watch(threading.Thread):
    """Watches how long the clean-up's statements hold their locks, and when it has no rows left to delete.

    The time of a lock is that of the whole transaction of a DELETE, including its commit. The search before it is a
    separate statement, which locks no row.

    Attributes:
        longest: the longest time, in milliseconds.
    """

    def __init__(self, dsn: str) -> None:
        super().__init__(daemon=True)
        self.dsn, self.longest = dsn, 0.0
        self.begun, self.done = threading.Event(), threading.Event()

    def run(self) -> None:
        asyncio.run(self._watch())

    async def _watch(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(_LONGEST_HELD)
        while not self.done.is_set():
            self.longest = max(self.longest, await connection.fetchval("SELECT pg_temp.longest_held()"))
            if self.longest:
                self.begun.set()
            if await connection.fetchval(_NOTHING_EXPIRED):
                self.done.set()
        await connection.close()


# Poll every millisecond for a second, in PostgreSQL, because Python is busy with requests. The time is taken before
# each poll, so that a wait of the poll itself for a CPU does not count as a held lock.
_LONGEST_HELD = """
CREATE FUNCTION pg_temp.longest_held() RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    began CONSTANT timestamptz := clock_timestamp();
    looked timestamptz := began;
    longest interval := '0';
BEGIN
    WHILE looked < began + interval '1 second' LOOP
        PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
        looked := clock_timestamp();
        SELECT greatest(longest, max(looked - xact_start)) INTO longest FROM pg_stat_activity
        WHERE state = 'active' AND query LIKE '%DELETE FROM refresh_token%';
    END LOOP;
    RETURN extract(epoch FROM longest) * 1000;
END $$
"""
# The newest rows are deleted last. A search for the oldest one would scan all deleted rows.
_NOTHING_EXPIRED = """
SELECT count(*) = 0 FROM (
    SELECT FROM refresh_token WHERE expires_at < now() - interval '1 day 1 minute' ORDER BY expires_at DESC LIMIT 1
) AS last
"""
_DEAD = """
SELECT 100.0 * n_dead_tup / greatest(1, n_live_tup + n_dead_tup)
FROM pg_stat_user_tables WHERE relname = 'refresh_token'
"""


async def clean_up(bench: Bench, scale: Scale) -> Figure:
    """Measure the server's own clean-up, here with much to delete at once."""
    people = await _users(bench.enough)
    without = statistics.median([(await _refresh(bench, people)).p99 for _ in range(bench.rounds)])
    connection = await asyncpg.connect(bench.dsn)
    try:
        await connection.execute(_EXPIRED, scale.expired)
        await connection.execute("VACUUM (ANALYZE) refresh_token")
        await connection.execute("CHECKPOINT")
        watch = _Watch(bench.dsn)
        watch.start()
        # Workers begin at random moments within 90 seconds.
        watch.begun.wait(120)
        during, dead = [], 0.0
        while not watch.done.is_set():
            during.append((await _refresh(bench, people)).p99)
            dead = max(dead, float(await connection.fetchval(_DEAD)))
    finally:
        await connection.close()
    parts = [
        Part.of("p99 of refresh (ms)", statistics.median(during), 1.5 * without),
        Part.of("longest lock (ms)", watch.longest, LOCK_MS),
        Part.of("dead rows (%)", dead, BLOAT_PERCENT),
    ]
    return Figure.of(f"clean-up of {scale.expired:,} expired rows while serving", "of each limit", "<= 1.00", parts)
