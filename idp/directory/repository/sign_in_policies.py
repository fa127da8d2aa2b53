"""The sign-in policies of organizations: their conditions as SQL, and the statements that read and change them."""

from typing import NamedTuple, Self
from uuid import UUID

from idp.directory.sign_in_policy import TWO_FACTORS, WAYS, SignInPolicy
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.rows import one
from idp.reasons import Reason

_POLICY_OF = """
SELECT second_factor, session_max_age, session_idle, coalesce(ways, '{}') AS ways FROM organization WHERE id = $1
"""
_SET = """
UPDATE organization SET second_factor = $2, session_max_age = $3, session_idle = $4, ways = nullif($5::text[], '{}'),
                        updated_at = now()
WHERE id = $1
"""


class SignInColumns(NamedTuple):
    """The columns of a sign-in, as SQL."""

    acr: str
    amr: str
    auth_time: str
    auth_age: str
    last_used: str

    @classmethod
    def of(cls, row: str, last_used: str = "now()") -> Self:
        """Return those of a row, such as a code or a token family."""
        return cls(f"{row}.acr", f"{row}.amr", f"{row}.auth_time", f"{row}.auth_age", last_used)


def _array(values: tuple[str, ...]) -> str:
    return "'{" + ",".join(values) + "}'::text[]"


def _ways(amr: str) -> str:
    """Return the ways of a sign-in, as :func:`idp.directory.sign_in_policy.ways_of`."""
    found = (
        f"CASE WHEN {amr} && {_array(way.methods)} AND NOT {amr} && {_array(way.unless)} THEN '{name}' END"
        for name, way in WAYS.items()
    )
    return f"ARRAY[{', '.join(found)}]"


def conditions(sign_in: SignInColumns) -> dict[Reason, str]:
    """Return the conditions that a sign-in meets the policy of an organization ``o``, by the reason of a refusal.

    A proof of unknown age is too old.
    """
    proved_at = f"{sign_in.auth_time} - make_interval(secs => {sign_in.auth_age})"
    return {
        Reason.WAY_NOT_ALLOWED: f"(o.ways IS NULL OR o.ways && {_ways(sign_in.amr)})",
        Reason.SESSION_TOO_OLD: f"(o.session_max_age IS NULL "
        f"OR {proved_at} + make_interval(secs => o.session_max_age) > now())",
        Reason.SESSION_IDLE: f"(o.session_idle IS NULL "
        f"OR {sign_in.last_used} + make_interval(secs => o.session_idle) > now())",
        Reason.ACR_TOO_LOW: f"(NOT o.second_factor OR {sign_in.acr} = ANY ({_array(TWO_FACTORS)}))",
    }


def failing(organization_id: str, sign_in: SignInColumns) -> str:
    """Return the reason why a sign-in does not meet the policy of an organization, as SQL; null if it does."""
    causes = "".join(f" WHEN {sql} IS NOT TRUE THEN '{reason}'" for reason, sql in conditions(sign_in).items())
    return f"(SELECT CASE{causes} END FROM organization AS o WHERE o.id = {organization_id})"  # noqa: S608


async def policy_of(organization_id: UUID) -> SignInPolicy | None:
    """Return the policy of an organization; None if there is no such organization."""
    return one(SignInPolicy, await fetchrow(_POLICY_OF, organization_id))


async def set_policy(organization_id: UUID, policy: SignInPolicy) -> None:
    """Store the policy of an organization."""
    given = (policy.second_factor, policy.session_max_age, policy.session_idle, list(policy.ways))
    await execute(_SET, organization_id, *given)
