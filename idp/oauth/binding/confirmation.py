"""The key that a code, a token family or an access token is bound to: the claim ``cnf`` (RFC 7800)."""

from collections.abc import Awaitable, Callable
from typing import Any, Self

import msgspec

from idp.reasons import Reason


class Confirmation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The key that a caller must prove, or has proved.

    Attributes:
        jkt: the thumbprint of a DPoP key (RFC 9449 section 6.1).
        x5t_s256: the SHA-256 of a client certificate, in base64url (RFC 8705 section 3.1).
    """

    jkt: str | None = None
    x5t_s256: str | None = msgspec.field(default=None, name="x5t#S256")

    @classmethod
    def of(cls, claims: Any) -> Self | None:
        """Return the confirmation of a token of this server, or None if the token is not bound."""
        cnf = claims.get("cnf")
        return None if cnf is None else msgspec.convert(cnf, cls)

    @classmethod
    def from_json(cls, stored: str | None) -> Self | None:
        """Return the value of a column ``confirmation``; None if the row is not bound."""
        return None if stored is None else msgspec.json.decode(stored, type=cls)

    def refuses(self, proved: Self | None) -> Reason | None:
        """Return why a request may not use what is bound to this key, or None if it proves the key."""
        if proved is None:
            return Reason.PROOF_MISSING
        return None if self.claim.items() <= proved.claim.items() else Reason.WRONG_KEY

    @property
    def token_type(self) -> str:
        """The ``token_type`` of a bound access token. One that is bound to a certificate is a Bearer token."""
        return "DPoP" if self.jkt else "Bearer"

    @property
    def claim(self) -> dict[str, str]:
        """The value of ``cnf``."""
        cnf: dict[str, str] = msgspec.to_builtins(self)
        return cnf

    def to_json(self) -> str:
        """Return it as the columns ``confirmation`` store it."""
        return msgspec.json.encode(self).decode()


def stored(confirmation: Confirmation | None) -> str | None:
    """Return the value of a column ``confirmation``."""
    return confirmation.to_json() if confirmation is not None else None


#: Returns the key that a request proves, and uses the proof up; None if it proves none. A grant calls it after it has
#: verified that this server issued its code or token, so that with a forged one nobody makes the server store anything.
Prove = Callable[[], Awaitable[Confirmation | None]]
