"""The sign-in policy of an organization: what a sign-in for it needs.

The conditions are compared here where a browser comes, and in SQL where a token is issued
(:mod:`idp.directory.repository.sign_in_policies`).
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import msgspec

from idp.reasons import Reason

#: The values of ``acr`` of sign-ins with two factors.
TWO_FACTORS: Final = ("2", "phr")


class Way(NamedTuple):
    """How a way is known by the ``amr`` of a sign-in: one of ``methods`` is in it, and none of ``unless``."""

    methods: tuple[str, ...]
    unless: tuple[str, ...] = ()


#: By the name of the step. A code by mail and one of an app have the same method: the app is a second step. The
#: password of a directory is entered here.
WAYS: Final = {
    "password": Way(("pwd",)),
    "passkey": Way(("hwk", "swk")),
    "email_code": Way(("otp",), unless=("pwd", "fed")),
    "upstream": Way(("fed",), unless=("pwd",)),
}


class SignInPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions of a sign-in for an organization. All must hold.

    Attributes:
        second_factor: whether two factors are needed, or a passkey.
        session_max_age: the greatest age of the proof of identity in seconds; None: any.
        session_idle: the longest pause in seconds, of the session in the browser and between two refreshes; None: any.
        ways: the ways to sign in, of which one is needed; empty: any.
    """

    second_factor: bool = False
    session_max_age: int | None = None
    session_idle: int | None = None
    ways: tuple[str, ...] = ()

    @property
    def passkey_only(self) -> bool:
        """Whether a passkey is the only way."""
        return self.ways == ("passkey",)

    def unmet(self, *, acr: str, amr: Collection[str], age: float, pause: float = 0) -> Reason | None:
        """Return why a sign-in does not meet the policy; None: it does.

        Args:
            age: the seconds since the proof of identity.
            pause: the longest time in seconds for which it was not used.
        """
        causes = (
            (bool(self.ways) and not ways_of(amr) & set(self.ways), Reason.WAY_NOT_ALLOWED),
            (self.session_max_age is not None and age >= self.session_max_age, Reason.SESSION_TOO_OLD),
            (self.session_idle is not None and pause >= self.session_idle, Reason.SESSION_IDLE),
            (self.second_factor and acr not in TWO_FACTORS, Reason.ACR_TOO_LOW),
        )
        return next((reason for holds, reason in causes if holds), None)


#: That of an organization that asks for nothing.
NO_POLICY: Final = SignInPolicy()


def ways_of(amr: Collection[str]) -> set[str]:
    """Return the ways of a sign-in by its ``amr``."""
    used = set(amr)
    return {name for name, way in WAYS.items() if used & set(way.methods) and not used & set(way.unless)}
