"""Why a document cannot be used."""

from idp.errors import RemoteError
from idp.reasons import Reason


class DocumentError(RemoteError):
    """The client with this document is not accepted now.

    Args:
        description: for the client's developer.
        hint: for the log only. By default the description.
    """

    def __init__(self, description: str, reason: Reason, *, hint: str | None = None) -> None:
        super().__init__(description)
        self.reason: Reason = reason
        self.hint = hint or description


def invalid(description: str) -> DocumentError:
    """Return the error for a document that breaks a rule."""
    return DocumentError(description, Reason.DOCUMENT_INVALID)
