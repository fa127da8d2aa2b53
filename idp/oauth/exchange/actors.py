"""The claims ``act`` and ``may_act`` (RFC 8693 sections 4.1 and 4.4).

An actor is a user (``sub``), a client (``sub`` and, the same, ``client_id``) or somebody of another issuer (``iss`` and
``sub``). ``act`` names the current actor, and inside of it those before. A user is named as the client of the token
knows users (:mod:`idp.oauth.subjects`).
"""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from idp.oauth import subjects
from idp.oauth.clients.models import Client

Actor = Mapping[str, Any]
#: The members that identify an actor; others do not matter (section 4.1).
_IDENTITY = ("iss", "sub", "client_id")


def of_client(client_id: str) -> Actor:
    return {"sub": client_id, "client_id": client_id}


def chain(claims: Mapping[str, Any]) -> Iterator[Actor]:
    """Return the actors of a token of this server, the current one first."""
    actor = claims.get("act")
    while actor is not None:
        yield {name: actor[name] for name in _IDENTITY if name in actor}
        actor = actor.get("act")


def clients(claims: Mapping[str, Any]) -> Iterator[str]:
    """Return the clients among the actors of a token of this server."""
    return (actor["client_id"] for actor in chain(claims) if "client_id" in actor)


def users(claims: Mapping[str, Any], sector: str | None) -> Iterator[UUID | None]:
    """Return the users among the actors of a token of this server; None for one that cannot be identified.

    Args:
        sector: that of the client of the token.
    """
    return (
        subjects.user_of(sector, actor["sub"])
        for actor in chain(claims)
        if "client_id" not in actor and "iss" not in actor
    )


def nested(actors: list[Actor]) -> dict[str, Any]:
    """Return the claim for these actors, the current one first; no claim, if there are none."""
    claim: dict[str, Any] = {}
    for actor in reversed(actors):
        claim = {"act": {**actor, **claim}}
    return claim


def renamed(actor: Actor, sector: str | None, client: Client) -> Actor | None:
    """Return an actor as another client knows it.

    Args:
        sector: that of the client which knows it by this name.

    Returns:
        None for a user that cannot be identified.
    """
    if "client_id" in actor or "iss" in actor:
        return actor
    user_id = subjects.user_of(sector, actor["sub"])
    return {"sub": subjects.subject(client, user_id)} if user_id is not None else None


def may_act(statement: object, actor: Actor) -> bool:
    """Return whether the claim ``may_act`` of a subject token names this actor. A malformed one names nobody."""
    if not isinstance(statement, dict) or not isinstance(statement.get("sub"), str):
        return False
    return all(statement[name] == actor.get(name) for name in _IDENTITY if name in statement)
