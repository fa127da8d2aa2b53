"""Why a document cannot be used."""

from idp.errors import RemoteError
from idp.reasons import Reason


class DocumentError(RemoteError):
    """The client with this document is not accepted now. The description is for the client's developer."""

    def __init__(self, description: str, reason: Reason) -> None:
        super().__init__(description)
        self.reason: Reason = reason


def invalid(description: str) -> DocumentError:
    """Return the error for a document that breaks a rule."""
    return DocumentError(description, Reason.DOCUMENT_INVALID)
