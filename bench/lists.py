"""The figure of the console's lists: one page of each, in a database with a million users and what they left."""

import statistics
import time

import asyncpg

from bench import large
from bench.figures import Bench, Figure, Part
from idp.accounts.repository.invitations import INVITATIONS
from idp.accounts.repository.users import USERS
from idp.audit.repository.audit_events import EVENTS
from idp.infra.db.engine import fetchrow
from idp.infra.db.listing import Listing, list_page
from idp.mail.repository import MAILS
from idp.oauth.clients.repository import CLIENTS
from idp.oauth.repository.consents import CONSENTS
from idp.signin.repository.sessions import SESSIONS

#: Maximum of the median time of a page, in milliseconds.
PAGE_MS = 50
#: Pages that are measured of each list, each round.
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
_NAMES = """
UPDATE users SET name = 'José López ' || right(email, 3), disabled_at = now() WHERE email LIKE '%777@large.example'
"""


async def fill(dsn: str, client_id: str, scale: large.Scale) -> None:
    """Insert users, sessions, events and mails."""
    await large.fill(dsn, client_id, scale)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_MAILS, scale.users)
        await connection.execute(_EVENTS, scale.users // 1000)
        await connection.execute(_NAMES)
        await connection.execute("VACUUM (ANALYZE) users, mail, audit_event, session")
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
    parts = [
        Part.of(name, await _p50(bench.rounds, listing, filters, sort), PAGE_MS)
        for name, listing, filters, sort in _lists(str(row["id"]), row["email"], actor["name"])
    ]
    return Figure.of(f"{scale.users:,} users: p50 of a page of each list of the console", "ms", "<= 1.00", parts)


def _lists(user_id: str, email: str, actor: str) -> list[tuple[str, Listing, dict[str, str], str | None]]:
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
        ("events of a request", EVENTS, {"request_id": "rare"}, None),
        ("events of a user", EVENTS, {"user_id": user_id}, None),
        ("events until a time", EVENTS, {"until": "2020-01-01T00:00"}, None),
        ("mails", MAILS, {}, None),
        ("mails that are dead", MAILS, {"state": "dead"}, None),
        ("mails that wait", MAILS, {"state": "deferred"}, None),
        ("mails of a rare kind", MAILS, {"template": "welcome"}, None),
        ("mails to an address", MAILS, {"recipient": email}, None),
        ("clients", CLIENTS, {}, None),
        ("consents", CONSENTS, {}, None),
        ("invitations", INVITATIONS, {}, None),
    ]


async def _p50(rounds: int, listing: Listing, filters: dict[str, str], sort: str | None) -> float:
    """Return the median time of a page in milliseconds, from the first page on, and again if the list is short."""
    taken, cursor = list[float](), None
    while len(taken) < PAGES * rounds:
        started = time.perf_counter()
        page = await list_page(listing, filters, sort=sort, cursor=cursor)
        taken.append(1000 * (time.perf_counter() - started))
        cursor = page.next_cursor
    return statistics.median(taken)
