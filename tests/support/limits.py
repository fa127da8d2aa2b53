"""Limits of attempts, however long the attempts take."""

import math

from idp.infra.db.engine import execute
from idp.infra.rate_limits import Escalation, Rate


async def keep_waiting(rule: Escalation) -> None:
    """Let every wait of a rule that has begun last for an hour: the first ones end in seconds."""
    await execute(
        "UPDATE throttle SET free_at = now() + interval '1 hour' WHERE rule = $1 AND number >= $2", rule.name, rule.free
    )


async def keep_spent(rate: Rate) -> None:
    """Let everybody who has spent a part of a rate have spent all of it for an hour."""
    await execute("UPDATE throttle SET free_at = now() + interval '1 hour' WHERE rule = $1", rate.name)


def most_within(rule: Escalation, seconds: float) -> int:
    """Return how many events a rule allows within so many seconds."""
    return rule.free + math.floor(math.log2(seconds / 2 + 1))
