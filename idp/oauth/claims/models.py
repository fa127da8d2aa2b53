"""Where claims go, and the rules by which they get there."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts.claims import PROTECTED_CLAIMS
from idp.oauth.claims.sources import Source


class Place(StrEnum):
    """What holds claims about a user."""

    ACCESS_TOKEN = "access_token"
    ID_TOKEN = "id_token"
    USERINFO = "userinfo"
    INTROSPECTION = "introspection"


class Shape(StrEnum):
    """How a value is written."""

    #: As it is: a list, or a single value.
    VALUE = "value"
    #: One text. Names that contain the separator are left out.
    SPACES = "spaces"
    COMMAS = "commas"
    #: Roles as Keycloak writes them: ``{"roles": […]}``, those of a client below its client_id.
    OBJECT = "object"


_PROTECTED = frozenset(name.lower() for name in PROTECTED_CLAIMS)
SEPARATORS = {Shape.SPACES: " ", Shape.COMMAS: ","}


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A claim, what it is made of, and where it goes.

    Attributes:
        scope: the claim needs this scope; None: none.
        places: where it goes.
        when_asked: whether resource servers get it only if they have the scope among their own.
        beside_profile: whether it is in an ID token only if the claims of the profile are.
    """

    claim: str
    scope: str | None = None
    source: Source
    places: tuple[Place, ...]
    shape: Shape = Shape.VALUE
    when_asked: bool = False
    beside_profile: bool = False

    def written(self, value: Any, client_id: str | None) -> Any:
        """Return a value in the shape of the claim; None if nothing is left.

        Args:
            client_id: the client whose roles they are.
        """
        if self.shape in SEPARATORS:
            separator = SEPARATORS[self.shape]
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            texts = [text for text in map(str, values) if separator not in text]
            return separator.join(texts) or None
        if self.shape is Shape.OBJECT:
            roles = {"roles": list(value)} if value else None
            return roles if client_id is None or roles is None else {client_id: roles}
        return list(value) if isinstance(value, tuple) else value


class ClaimMapping(Rule, frozen=True, kw_only=True):
    """A rule that an administrator declared, for one client or for every client with a scope. It is never changed, so
    that its id in the audit trail keeps its meaning.
    """

    id: UUID
    client_id: str | None
    created_at: datetime

    @property
    def is_protected(self) -> bool:
        """Whether the claim has a meaning of its own. Some readers of JSON ignore case."""
        return self.claim.lower() in _PROTECTED
