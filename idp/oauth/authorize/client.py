"""The client of an authorization request, and the page for one whose document cannot be used."""

from idp.errors import PageError
from idp.infra.i18n import gettext as _
from idp.oauth.clients.documents.errors import DocumentError
from idp.oauth.clients.lookup import client_for_authorization
from idp.oauth.clients.models import Client
from idp.reasons import Reason


async def find_client(client_id: str) -> Client | None:
    """Return the client; None if it is unknown or disabled.

    Raises:
        PageError: its document cannot be used.
        TryLaterError: too many documents are fetched.
    """
    try:
        return await client_for_authorization(client_id)
    except DocumentError as error:
        if error.reason is Reason.CLIENT_DISABLED:
            return None
        raise PageError(
            _("This application sent a request that we cannot answer"),
            _message(error),
            code="invalid_client",
            hint=f"The metadata document of the client cannot be used. {error.description}",
            reason=error.reason,
        ) from error


def _message(error: DocumentError) -> str:
    match error.reason:
        case Reason.DOCUMENT_NOT_ACCEPTED:
            return _("Applications of its site are not accepted here.")
        case Reason.DOCUMENT_UNAVAILABLE:
            return _("The metadata document of the application cannot be read. Try again in a minute.")
    return _(
        "The metadata document of the application is not valid. For its developers: %(problem)s",
        problem=error.description,
    )
