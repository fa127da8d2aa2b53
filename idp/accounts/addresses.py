"""Email addresses: one form for each, so that no two accounts share one."""

import re
import unicodedata
from functools import cache
from types import ModuleType

from idp.errors import ValidationError

# Letters and marks that are shown as nothing, or as a space: two addresses could look the same. Control and format
# characters are refused anyway.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)


#: The longest address (RFC 5321 section 4.5.3.1), in any form in which it may be typed, with spaces around it.
MAX_LENGTH = 320


class InvalidEmailError(ValidationError):
    """The text is not an email address: one plain sentence says why."""

    code = "invalid_email"


def _fold(text: str) -> str:
    # Folding can undo the normalisation, and the other way round (Unicode 3.13, D146).
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded).casefold()


@cache
def _validator() -> ModuleType:
    """Loaded when it is needed, for that takes long."""
    import email_validator

    # Names that work on one machine or in one network are good enough for those who run a server there.
    email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = ["arpa", "invalid", "onion"]
    return email_validator


def is_same_spelling(text: str, email: str) -> bool:
    """Whether a normalised address is the one that was told, but for the case of ASCII letters.

    Whoever proved another spelling, such as a full-width one, may be somebody else to their mail server: the proof says
    nothing of the normalised address.
    """
    return text.encode(errors="replace").lower() == email.encode()


def normalise_email(text: str) -> str:
    """The one form of an address that is stored and looked up: NFKC, without case, its domain in ASCII (IDNA).

    Raises:
        InvalidEmailError: it is not an address, or holds characters that cannot be seen.
    """
    # First of all: normalising takes time that grows with the square of the length.
    if len(text) > MAX_LENGTH:
        raise InvalidEmailError("The email address is too long.")
    if _INVISIBLE.search(text):
        raise InvalidEmailError("The email address holds characters that cannot be seen.")
    # IDNA folds the domain in its own way: straße.example and strasse.example may belong to different people.
    local_part, at, domain = unicodedata.normalize("NFKC", text.strip()).rpartition("@")
    validator = _validator()
    try:
        address = validator.validate_email(
            _fold(local_part) + at + domain, check_deliverability=False, globally_deliverable=False, strict=True
        )
    except (validator.EmailNotValidError, UnicodeError) as error:
        reason = str(error) if isinstance(error, validator.EmailNotValidError) else "The email address is not text."
        raise InvalidEmailError(reason) from error
    return f"{_fold(address.local_part)}@{address.ascii_domain}"
