"""Subject identifiers: the names by which clients know users and sessions (OpenID Connect Core section 8).

A public subject is the id of the user, or one of another issuer that the id contains
(:mod:`idp.accounts.kept_subjects`). A pairwise subject is that id encrypted for a sector, the host that a client
belongs to: clients of one sector know a user by one subject, and clients of two sectors cannot compare theirs. The same
holds for ``sid``, which would give away a user as well. Nothing is stored: this server decrypts what it gave out
(docs/decisions/0057-pairwise-subjects.md).

Every comparison of a ``sub`` or ``sid`` with a user or session goes through this module.
"""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from idp.accounts import kept_subjects
from idp.keys import sealed_ids
from idp.oauth.clients.models import Client

_SUBJECT, _SESSION = "pairwise-subject", "pairwise-session"
#: Begins a pairwise name. Without it one in 64 would begin with ``-``, and commands would take it for an option.
_PREFIX = "p"
#: Length of a pairwise subject in characters.
PAIRWISE_LENGTH = 44


class Identified(NamedTuple):
    """The user behind a subject, and the sector that it was for; None: it is public."""

    user_id: UUID
    sector: str | None


def subject(client: Client, user_id: UUID) -> str:
    """Return the ``sub`` of a user for a client."""
    sector = client.sector
    return kept_subjects.text(user_id) if sector is None else _sealed(sector, user_id, _SUBJECT)


def sid(client: Client, session_id: UUID) -> str:
    """Return the ``sid`` of a session for a client."""
    sector = client.sector
    return str(session_id) if sector is None else _sealed(sector, session_id, _SESSION)


def user_of(sector: str | None, subject: str) -> UUID | None:
    """Return the user that a ``sub`` names for a client of this sector; None: nobody.

    A public one is still accepted after the client has become pairwise.
    """
    found = identify(subject, (sector,) if sector is not None else ())
    return found.user_id if found else None


def identify(subject: str, sectors: Iterable[str]) -> Identified | None:
    """Return the user behind a public subject, or behind a pairwise one of one of these sectors; None: of nobody."""
    if not subject.startswith(_PREFIX):
        user_id = kept_subjects.user_id(subject)
        return Identified(user_id, None) if user_id is not None else None
    for sector in sectors:
        user_id = sealed_ids.unseal(subject.removeprefix(_PREFIX), _SUBJECT, sector.encode())
        if user_id is not None:
            return Identified(user_id, sector)
    return None


def _sealed(sector: str, id: UUID, purpose: str) -> str:
    return _PREFIX + sealed_ids.seal(id, purpose, sector.encode())
