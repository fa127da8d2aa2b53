"""Access tokens (RFC 9068) and the form of their ``jti``."""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Any
from uuid import UUID

from idp import clock
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.key_set import key_set
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.clients import profiles
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.token import lifetimes
from idp.settings import settings


def family_jti(family_id: UUID) -> str:
    """Return a ``jti`` that begins with the id of the family, so that the token ends with its family."""
    return f"{urlsafe_b64encode(family_id.bytes).rstrip(b'=').decode()}.{secrets.token_urlsafe(12)}"


def family_of(jti: str) -> UUID | None:
    """Return the family of a token; None for a token of the client_credentials grant."""
    family, dot, _ = jti.partition(".")
    return UUID(bytes=urlsafe_b64decode(family + "==")) if dot else None


def exchanged_jti(jti: str) -> str:
    """Return a ``jti`` that begins with that of the subject token, so that the token ends with it."""
    return f"{jti}~{secrets.token_urlsafe(12)}"


def exchanges(jti: str) -> int:
    """Return how many exchanges led to a token."""
    return jti.count("~")


def lineage(jti: str) -> list[str]:
    """Return the ``jti`` of a token after those of the tokens that it was exchanged for, one from the other."""
    return list(accumulate(jti.split("~"), "{}~{}".format))


def access_token(
    client: Client,
    subject: str,
    scope: str,
    resource: Sequence[str],
    jti: str,
    *,
    confirmation: Confirmation | None = None,
    lifetime: int | None = None,
    about: Mapping[str, Any] = MappingProxyType({}),
    **claims: Any,
) -> str:
    """Return an access token (RFC 9068 section 2) for these resource servers; without any, for this server.

    Args:
        confirmation: the key that the token is bound to.
        lifetime: seconds for which it is valid; None: those of the client.
        about: claims about the user (:mod:`idp.oauth.claims`).
        claims: those of the protocol.
    """
    if confirmation is not None:
        claims["cnf"] = confirmation.claim
    now = clock.timestamp()
    audience = list(resource)
    if not audience or "openid" in scope.split():
        # With OpenID Connect, userinfo accepts the token too.
        audience.append(settings().issuer)
    server = registry.resource_server(audience[0])
    # Those for this server alone; a resource server may know one algorithm only.
    own = DEFAULT_ALGORITHM if profiles.rules(client).algorithms is None else client.id_token_signed_response_alg
    return key_set.sign(
        server.access_token_signed_response_alg if server else own,
        server.access_token_type if server else "at+jwt",
        {
            **about,
            "iss": settings().issuer,
            "sub": subject,
            "aud": audience if len(audience) > 1 else audience[0],
            "client_id": client.client_id,
            "scope": scope,
            "iat": now,
            "exp": now + (lifetimes.of_access_tokens(client) if lifetime is None else lifetime),
            "jti": jti,
            **claims,
        },
    )
