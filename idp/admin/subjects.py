"""Who is behind the ``sub`` that a client knows (OpenID Connect Core section 8.1)."""

from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import User
from idp.audit.events import record
from idp.errors import NotFoundError
from idp.infra.db.engine import transaction
from idp.oauth.clients import repository
from idp.oauth.subjects import identify

#: Longest subject that is looked at. Ours have up to 43 characters.
MAX_LENGTH = 255


class UnknownSubjectError(NotFoundError):
    """No user has this subject."""

    def __init__(self) -> None:
        super().__init__("No user has this subject, neither a public one nor one for a sector of a registered client.")


async def who_is(subject: str, sector: str | None = None) -> User:
    """Return the user behind a subject, and record in the audit trail that this was asked.

    Args:
        sector: the host of a sector that no client has any more; None: the sectors of all clients.

    Raises:
        UnknownSubjectError: nobody has it.
    """
    known = {client.sector for client in await repository.clients()}
    sectors = [sector] if sector else sorted(one for one in known if one is not None)
    found = identify(subject, sectors) if len(subject) <= MAX_LENGTH else None
    user = await user_by_id(found.user_id) if found else None
    if found is None or user is None:
        raise UnknownSubjectError
    async with transaction():
        await record("subject_identified", user_id=user.id, detail={"sector": found.sector})
    return user
