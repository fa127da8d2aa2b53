"""The clock of this machine, against that of PostgreSQL and that of a time server."""

from datetime import timedelta

from idp import clock
from idp.doctor import repository
from idp.doctor.models import Context, Finding, Findings, error, ok, warning

#: Seconds above which proofs and codes begin to fail, and above which sign-ins do.
LARGE_SKEW, HUGE_SKEW = 2.0, 30.0


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
