"""The clock of this machine, against that of PostgreSQL and that of a time server."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

from idp import clock
from idp.doctor import repository
from idp.doctor.models import Context, Finding, Findings, error, note, ok, warning
from idp.infra import outbound
from idp.infra.outbound_streams import ask_datagram

#: Seconds above which proofs and codes begin to fail, and above which sign-ins do.
LARGE_SKEW, HUGE_SKEW = 2.0, 30.0
#: Seconds to wait for a time server, and its usual port.
SECONDS, NTP_PORT = 4.0, 123
SECONDS_1900_TO_1970 = 2_208_988_800


async def check_database(_: Context) -> Findings:
    """Compare with the clock of the database, which decides what has expired."""
    before = clock.now()
    at = await repository.database_time()
    skew = clock.now() - at - (clock.now() - before) / 2
    yield judge(skew, "clock_differs_from_database", "the clock of PostgreSQL", "both machines")


def judge(skew: timedelta, name: str, other: str, where: str) -> Finding:
    """Return what follows from the difference between this machine's clock and another one."""
    seconds = skew.total_seconds()
    if abs(seconds) < LARGE_SKEW:
        return ok(f"This machine's clock and {other} agree within {LARGE_SKEW:g} s.")
    level = error if abs(seconds) > HUGE_SKEW else warning
    direction = "ahead of" if seconds > 0 else "behind"
    return level(
        name,
        f"This machine's clock is {abs(seconds):.1f} s {direction} {other}.",
        f"Run a time service such as chrony on {where}.",
    )


async def check_time_server(context: Context) -> Findings:
    """Compare with a time server (SNTP, RFC 4330)."""
    if not context.time_server:
        return
    host, _, port = context.time_server.partition(":")
    try:
        async with asyncio.timeout(SECONDS):
            skew = await _skew(host, int(port or NTP_PORT))
    except (outbound.CallFailed, TimeoutError, ValueError):
        yield note(
            "time_server_unanswered",
            f"The time server {context.time_server} does not answer, so the clock was compared with PostgreSQL only.",
            "Name another one with --time-server. Firewalls often block UDP port 123.",
        )
        return
    yield judge(skew, "clock_wrong", context.time_server, "this machine")


async def _skew(host: str, port: int) -> timedelta:
    """Return by how much this machine's clock is ahead of a time server.

    Raises:
        ValueError: the answer is none, or does not belong to the question.
    """
    cookie = secrets.token_bytes(8)
    before = clock.now()
    # Version 4, client; the transmit timestamp is what the server repeats.
    answer = await ask_datagram(host, port, bytes([0x23]) + bytes(39) + cookie)
    after = clock.now()
    if len(answer) < 48 or answer[0] & 7 != 4 or not 1 <= answer[1] <= 15 or answer[24:32] != cookie:
        raise ValueError("not an answer")
    received, sent = (_timestamp(answer[start : start + 8]) for start in (32, 40))
    return ((before - received) + (after - sent)) / 2


def _timestamp(field: bytes) -> datetime:
    """Convert seconds since 1900 with a fraction of 32 bits."""
    seconds = int.from_bytes(field, "big") / (1 << 32) - SECONDS_1900_TO_1970
    return datetime.fromtimestamp(seconds, UTC)
