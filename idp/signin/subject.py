"""The data on which decisions of a sign-in depend: the user's account, factors and browser."""

from uuid import UUID

import msgspec

from idp.settings import settings
from idp.signin.transitions import Step


class Factors(msgspec.Struct, frozen=True):
    """The second steps that a user can take, and whether they are always asked for one."""

    has: frozenset[Step]
    two_step: bool


class FactorColumns(msgspec.Struct, frozen=True):
    """The columns of the factors of a user."""

    two_step: bool
    has_passkey: bool
    has_totp: bool
    has_recovery_code: bool

    @property
    def factors(self) -> Factors:
        there = {
            Step.PASSKEY: self.has_passkey,
            Step.TOTP: self.has_totp,
            Step.RECOVERY_CODE: self.has_recovery_code,
        }
        has = frozenset(step for step, present in there.items() if present)
        # Recovery codes alone are no factor to ask for at every sign-in.
        return Factors(frozenset() if has == {Step.RECOVERY_CODE} else has, self.two_step)


class SignInSubject(FactorColumns, frozen=True):
    """A user, at the browser that asks.

    Attributes:
        trusts_device: the user asked not to be asked for a second factor at this browser.
        device_id: this browser, if the user signed in here before. It stays when the cookie is replaced.
        session_id: the user's live session at this browser.
    """

    id: UUID
    email: str
    name: str | None
    locale: str | None
    password_hash: str | None
    disabled: bool
    trusts_device: bool
    device_id: UUID | None
    session_id: UUID | None

    @property
    def known(self) -> bool:
        """Whether the user signed in at this browser before."""
        return self.device_id is not None

    @property
    def trusted(self) -> bool:
        """Whether no second factor is asked for at this browser."""
        return self.trusts_device and settings().trusted_device_lifetime > 0
