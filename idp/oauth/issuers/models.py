"""A trusted issuer."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from idp import ids
from idp.keys.algorithms import VERIFICATION_ALGORITHMS

#: Default of the longest lifetime of a token, in seconds.
DEFAULT_LIFETIME = 300


class Purpose(StrEnum):
    """What a token of another issuer is used for."""

    JWT_BEARER = "jwt_bearer"
    ID_JAG = "id_jag"
    TOKEN_EXCHANGE = "token_exchange"
    LOGIN_HINT = "login_hint"


class SubjectSource(StrEnum):
    """Whom the ``sub`` of a token means here."""

    IDENTITY = "identity"
    EMAIL = "email"
    CLIENT = "client"


class TrustedIssuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An issuer whose tokens this server accepts.

    Attributes:
        issuer: its ``iss``.
        jwks, jwks_uri: its keys. Without both, its discovery document names them.
        purposes: what its tokens are accepted for: the JWT bearer grant, identity assertions (ID-JAG), as subjects of
            token exchange, or as hints of whom a client wants to ask (CIBA).
        clients: the clients that may present its tokens.
        subject: whom ``sub`` means: the user to whom this identity is linked; in addition, the user who has the
            verified ``email`` of the token; or the client itself.
        email_domains: the domains of addresses that the issuer vouches for.
        create_users: create a user with the verified address of a token if there is none.
        scope: the scopes that its tokens can give.
        audiences: further ``aud`` of subjects of token exchange. Grants are for this server only.
        max_lifetime: the longest lifetime of its tokens, in seconds.
        id: the last segment of its path in the admin API and the console.
    """

    issuer: str
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    algorithms: tuple[str, ...] = VERIFICATION_ALGORITHMS
    purposes: tuple[Purpose, ...]
    clients: tuple[str, ...] = ()
    subject: SubjectSource = SubjectSource.IDENTITY
    email_domains: tuple[str, ...] = ()
    create_users: bool = False
    scope: str = ""
    audiences: tuple[str, ...] = ()
    max_lifetime: int = DEFAULT_LIFETIME
    enabled: bool = True
    id: str = msgspec.field(default_factory=ids.uuid7_text)


class StoredTrustedIssuer(TrustedIssuer, frozen=True, kw_only=True):
    """An issuer with the times of its record. ``updated_at`` is its version."""

    created_at: datetime
    updated_at: datetime
