"""Where claims go, and the rules by which they get there."""

from enum import StrEnum

import msgspec

from idp.oauth.claims.sources import Source


class Place(StrEnum):
    """What holds claims about a user."""

    ACCESS_TOKEN = "access_token"
    ID_TOKEN = "id_token"
    USERINFO = "userinfo"
    INTROSPECTION = "introspection"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A claim, what it is made of, and where it goes.

    Attributes:
        scope: the claim needs this scope; None: none.
        places: where it goes.
    """

    claim: str
    scope: str | None
    source: Source
    places: tuple[Place, ...]
