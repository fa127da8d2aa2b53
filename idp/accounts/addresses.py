"""Email addresses: one form for each, so that no two accounts share one."""

import unicodedata

import email_validator
from email_validator import EmailNotValidError, validate_email

# Names that work on one machine or in one network are good enough for those who run a server there.
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = ["arpa", "invalid", "onion"]


class InvalidEmail(ValueError):
    """The text is not an email address: one plain sentence says why."""


def _fold(text: str) -> str:
    # Folding can undo the normalisation, and the other way round (Unicode 3.13, D146).
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded).casefold()


def normalise_email(text: str) -> str:
    """The one form of an address that is stored and looked up: NFKC, without case, its domain in ASCII (IDNA).

    Raises:
        InvalidEmail: it is not an address, or holds characters that cannot be seen.
    """
    try:
        address = validate_email(
            _fold(text.strip()), check_deliverability=False, globally_deliverable=False, strict=True
        )
    except (EmailNotValidError, UnicodeError) as error:
        reason = str(error) if isinstance(error, EmailNotValidError) else "The email address is not text."
        raise InvalidEmail(reason) from error
    return f"{_fold(address.local_part)}@{address.ascii_domain}"
