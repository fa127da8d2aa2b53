"""What a user is able to show besides a first proof."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from idp.accounts.users import SignOut
from idp.audit.events import record
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.signin.transitions import Step

#: Of the user ``u``: whether a second step is asked for, and for each of ``_STEPS`` whether there is one.
FACTORS = """
    u.two_step, EXISTS (SELECT FROM passkey WHERE user_id = u.id),
    EXISTS (SELECT FROM totp WHERE user_id = u.id AND confirmed_at IS NOT NULL),
    EXISTS (SELECT FROM recovery_code WHERE user_id = u.id AND used_at IS NULL)
"""
_STEPS = (Step.PASSKEY, Step.TOTP, Step.RECOVERY_CODE)
_FIND = f"SELECT {FACTORS} FROM users AS u WHERE u.id = $1 AND u.disabled_at IS NULL"  # noqa: S608
_SET_TWO_STEP = "UPDATE users SET two_step = $2 WHERE id = $1 AND two_step <> $2"
#: Recovery codes alone are no factor to ask for at every sign-in.
_LAST_ONE_GONE = """
    UPDATE users SET two_step = false WHERE id = $1 AND two_step
    AND NOT EXISTS (SELECT FROM passkey WHERE user_id = $1)
    AND NOT EXISTS (SELECT FROM totp WHERE user_id = $1 AND confirmed_at IS NOT NULL)
"""

_REMOVE_ALL = (
    "DELETE FROM totp WHERE user_id = $1",
    "DELETE FROM passkey WHERE user_id = $1",
    "DELETE FROM recovery_code WHERE user_id = $1",
)


class Factors(msgspec.Struct, frozen=True):
    """The second steps that a user is able to take, and whether they are always asked for one."""

    has: frozenset[Step]
    two_step: bool


async def factors_of(user_id: UUID) -> Factors | None:
    """The factors of a user; None when there is no such user, or none that may sign in."""
    row = await fetchrow(_FIND, user_id)
    return factors(tuple(row)) if row is not None else None


def factors(found: Sequence[bool]) -> Factors:
    """What :data:`FACTORS` says."""
    two_step, *there = found
    has = frozenset(step for step, one in zip(_STEPS, there, strict=True) if one)
    return Factors(frozenset() if has == {Step.RECOVERY_CODE} else has, two_step)


async def set_two_step(user_id: UUID, wanted: bool) -> bool:
    """Ask a user for a second factor at every sign-in, or no longer. Returns whether that is a change."""
    return bool(await execute(_SET_TWO_STEP, user_id, wanted))


async def forget_two_step_without_factors(user_id: UUID) -> None:
    """A user who has no second factor left is not asked for one. Runs in the transaction that removes one."""
    await execute(_LAST_ONE_GONE, user_id)


async def remove_all(user_id: UUID, sign_out: SignOut) -> bool:
    """Take every second factor off, for somebody who has lost them all. Returns whether there was one.

    What was proved with them ends, whoever it was: a phone that was lost may have been found by somebody.
    """
    async with transaction():
        removed = [await execute(statement, user_id) for statement in _REMOVE_ALL]
        await execute(_LAST_ONE_GONE, user_id)
        await sign_out(user_id, "factors_removed")
        if any(removed):
            await record("factors_removed", user_id=user_id)
    return any(removed)
