"""The figure of the console's lists: one page of each, in a database with a million users and what they left."""

import statistics
import time

import asyncpg

from bench import large
from bench.figures import Bench, Figure, Part
from idp.accounts.repository.invitations import INVITATIONS
from idp.accounts.repository.users import USERS
from idp.audit.repository.audit_events import EVENTS
from idp.delivery.repository import DELIVERIES
from idp.infra.db.engine import fetchrow
from idp.infra.db.listing import Listing, list_page
from idp.mail.repository import MAILS
from idp.oauth.clients.repository import CLIENTS
from idp.oauth.repository.consents import CONSENTS
from idp.signin.repository.sessions import SESSIONS
from idp.trace.repository import REQUESTS

#: Maximum of the median time of a page, in milliseconds.
PAGE_MS = 50
#: First and second pages that are measured of each list, each round.
PAGES = 20
# A thousandth of the mails is dead.
_MAILS = """
INSERT INTO mail (id, recipient, template, state, response, created_at, expires_at, finished_at)
SELECT uuidv7(), 'person' || n || '@large.example', 'email_code', CASE WHEN n % 1000 = 0 THEN 'dead' ELSE 'sent' END,
       '', now() - n * interval '1 second', now() + interval '1 day', now() FROM generate_series(1, $1::int) AS n
"""
# A few events of a rare kind, by an administrator. Half of them failed.
_EVENTS = """
INSERT INTO audit_event (id, at, event, outcome, actor, user_id, ip_address, request_id, detail, seq)
SELECT uuidv7(), now() - n * interval '1 second', 'user_updated', CASE WHEN n % 2 = 0 THEN 'failure' ELSE 'success' END,
       'user:' || (SELECT id FROM users ORDER BY id LIMIT 1), NULL, '192.0.2.1', 'rare', '{}', -100000000 - n
FROM generate_series(1, $1::int) AS n
"""
# A thousandth of the deliveries is dead, and a thousandth of the requests failed.
_DELIVERIES = """
INSERT INTO delivery (id, kind, stream, state, response, created_at, expires_at, finished_at)
SELECT uuidv7(), 'webhook', 'webhook:' || n % 100, CASE WHEN n % 1000 = 0 THEN 'dead' ELSE 'delivered' END,
       '', now() - n * interval '1 second', now() + interval '1 day', now() FROM generate_series(1, $1::int) AS n
"""
_REQUESTS = """
INSERT INTO trace (id, at, request_id, trace_id, outcome, method, route, status, duration_ms, reason, user_id,
                   ip_address, steps)
SELECT uuidv7(), clock_timestamp(), md5(n::text), md5(n::text), CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'success' END,
       'POST', '/token', 200, 3, CASE WHEN n % 1000 = 0 THEN 'server_error' END, u.id, '192.0.2.1', '[]'
FROM (SELECT id, row_number() OVER () AS n FROM users) AS u
"""
_CONSENTS = """
INSERT INTO consent (user_id, client_id, id, pairs, claims, documents_hash, granted_at)
SELECT id, $1, uuidv7(), '{}', '{}', '', now() FROM users
"""
# A thousandth of the sessions has ended, and they are the oldest.
_ENDED = """
UPDATE session SET ended_at = now(), ended_reason = 'sign_out', announced_at = now()
WHERE id IN (SELECT id FROM session ORDER BY id LIMIT (SELECT count(*) / 1000 FROM session))
"""
_NAMES = """
UPDATE users SET name = 'José López ' || right(email, 3), disabled_at = now() WHERE email LIKE '%777@large.example'
"""


async def fill(dsn: str, client_id: str, scale: large.Scale) -> None:
    """Insert users, and sessions, consents, events, mails, deliveries and recorded requests of theirs."""
    await large.fill(dsn, client_id, scale)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_MAILS, scale.users)
        await connection.execute(_EVENTS, scale.users // 1000)
        await connection.execute(_DELIVERIES, scale.users)
        for statement in (_REQUESTS, _ENDED, _NAMES):
            await connection.execute(statement)
        await connection.execute(_CONSENTS, client_id)
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def lists(bench: Bench, scale: large.Scale) -> Figure:
    """Measure pages of each list, one after the other, by one connection."""
    await fill(bench.dsn, bench.sample.client_id, scale)
    row = await fetchrow("SELECT id, email FROM users WHERE email = 'person7777@large.example'")
    actor = await fetchrow("SELECT 'user:' || id AS name FROM users ORDER BY id LIMIT 1")
    assert row is not None
    assert actor is not None
    event = await fetchrow("SELECT request_id FROM audit_event WHERE user_id = $1 LIMIT 1", row["id"])
    assert event is not None
    parts = [
        Part.of(name, await _p50(bench.rounds, listing, filters, sort), PAGE_MS)
        for name, listing, filters, sort in _lists(str(row["id"]), row["email"], actor["name"], event["request_id"])
    ]
    return Figure.of(f"{scale.users:,} users: p50 of a page of each list of the console", "ms", "<= 1.00", parts)


def _lists(user_id: str, email: str, actor: str, request: str) -> list[tuple[str, Listing, dict[str, str], str | None]]:
    return [
        *((f"users by {sort}", USERS, {}, sort) for sort in ("-created_at", "created_at", "email", "-email")),
        ("users whose name has accents", USERS, {"q": "jose lopez"}, None),
        ("users at a domain of all", USERS, {"q": "large.example"}, None),
        ("users at a domain of no one", USERS, {"q": "none.example"}, None),
        ("users that are disabled", USERS, {"disabled": "true"}, None),
        ("users that are disabled, by email", USERS, {"disabled": "true"}, "email"),
        ("administrators", USERS, {"role": "owner"}, None),
        ("sessions", SESSIONS, {}, None),
        ("live sessions", SESSIONS, {"live": "true"}, None),
        ("ended sessions", SESSIONS, {"live": "false"}, None),
        ("sessions of a user", SESSIONS, {"user_id": user_id}, None),
        ("events", EVENTS, {}, None),
        ("events of a rare kind", EVENTS, {"event": "user_updated"}, None),
        ("events that failed", EVENTS, {"outcome": "failure"}, None),
        ("events that were denied", EVENTS, {"outcome": "denied"}, None),
        ("events by an administrator", EVENTS, {"actor": actor}, None),
        ("events of a request", EVENTS, {"request_id": request}, None),
        ("events of a user", EVENTS, {"user_id": user_id}, None),
        ("failed events of a kind", EVENTS, {"event": "sign_in", "outcome": "failure"}, None),
        ("events by no one", EVENTS, {"actor": "user:none"}, None),
        ("events of no request", EVENTS, {"request_id": "none"}, None),
        ("events until a time", EVENTS, {"until": "2020-01-01T00:00"}, None),
        ("mails", MAILS, {}, None),
        ("mails that are dead", MAILS, {"state": "dead"}, None),
        ("mails that wait", MAILS, {"state": "deferred"}, None),
        ("mails of a rare kind", MAILS, {"template": "welcome"}, None),
        ("mails to an address", MAILS, {"recipient": email}, None),
        ("deliveries", DELIVERIES, {}, None),
        ("deliveries that are dead", DELIVERIES, {"state": "dead"}, None),
        ("deliveries that wait", DELIVERIES, {"state": "deferred"}, None),
        ("deliveries to a receiver", DELIVERIES, {"stream": "webhook:7"}, None),
        ("deliveries to no receiver", DELIVERIES, {"stream": "webhook:none"}, None),
        ("dead deliveries to a receiver", DELIVERIES, {"stream": "webhook:0", "state": "dead"}, None),
        ("deliveries of a rare kind", DELIVERIES, {"kind": "logout"}, None),
        ("deliveries about a user", DELIVERIES, {"user_id": user_id}, None),
        ("requests", REQUESTS, {}, None),
        ("requests that failed", REQUESTS, {"outcome": "failed"}, None),
        ("requests that were refused", REQUESTS, {"outcome": "refused"}, None),
        ("requests for a reason", REQUESTS, {"reason": "server_error"}, None),
        ("requests for a rare reason", REQUESTS, {"reason": "rare"}, None),
        ("requests of a user", REQUESTS, {"user_id": user_id}, None),
        ("a request", REQUESTS, {"request_id": "rare"}, None),
        ("clients", CLIENTS, {}, None),
        ("consents", CONSENTS, {}, None),
        ("consents of a user", CONSENTS, {"user_id": user_id}, None),
        ("invitations", INVITATIONS, {}, None),
    ]


async def _p50(rounds: int, listing: Listing, filters: dict[str, str], sort: str | None) -> float:
    """Return the median time of a first page or of a later one in milliseconds, whichever is longer."""
    first, later, cursor = list[float](), list[float](), None
    while len(first) < PAGES * rounds:
        taken = later if cursor is not None else first
        started = time.perf_counter()
        page = await list_page(listing, filters, sort=sort, cursor=cursor)
        taken.append(1000 * (time.perf_counter() - started))
        cursor = page.next_cursor if cursor is None else None
    return max(map(statistics.median, filter(None, (first, later))))
