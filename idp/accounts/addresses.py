"""Normalisation of email addresses, so that two accounts cannot share one."""

import unicodedata
from functools import cache
from types import ModuleType

from idp.errors import ValidationError
from idp.infra.visible_text import INVISIBLE
from idp.mail.names import ENCODED_WORD

#: Maximum length of an address as typed, with surrounding spaces (RFC 5321 section 4.5.3.1).
MAX_LENGTH = 320


class InvalidEmailError(ValidationError):
    """The text is not a valid email address. The message is one sentence."""

    code = "invalid_email"


def _fold(text: str) -> str:
    # Case folding can undo the normalisation, and vice versa (Unicode section 3.13, D146).
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded).casefold()


@cache
def _validator() -> ModuleType:
    """Import the validator on first use, because that is slow."""
    import email_validator

    # Local domain names such as .local and .test are allowed for servers in local networks.
    email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = ["arpa", "invalid", "onion"]
    return email_validator


def is_same_spelling(text: str, email: str) -> bool:
    """Return whether an address equals its normalised form, ignoring the case of ASCII letters.

    A mail server may treat another spelling, such as full-width letters, as another mailbox. So a verification of that
    spelling does not verify the normalised address.
    """
    return text.encode(errors="replace").lower() == email.encode()


def normalise_domain(text: str) -> str:
    """Return the form in which a domain is part of stored addresses.

    Raises:
        InvalidEmailError: addresses cannot have this domain, it has one label only, or it is an IP address.
    """
    domain = domain_of(normalise_email(f"x@{text.strip().removesuffix('.')}"))
    if "." not in domain or domain.rpartition(".")[2].isdigit():
        raise InvalidEmailError("The domain must have a dot, such as example.com.")
    return domain


def domain_of(email: str) -> str:
    """Return the domain of a normalised address."""
    return email.rpartition("@")[2]


def normalise_email(text: str) -> str:
    """Return the form of an address that is stored and looked up: NFKC, case-folded, the domain in ASCII (IDNA).

    Raises:
        InvalidEmailError: the address is not valid, or contains invisible characters or an encoded word.
    """
    # Checked first: normalisation takes time quadratic in the length.
    if len(text) > MAX_LENGTH:
        raise InvalidEmailError("The email address is too long.")
    if INVISIBLE.search(text):
        raise InvalidEmailError("The email address holds characters that cannot be seen.")
    # IDNA has its own folding of domains: straße.example and strasse.example can have different owners.
    local_part, at, domain = unicodedata.normalize("NFKC", text.strip()).rpartition("@")
    validator = _validator()
    try:
        address = validator.validate_email(
            _fold(local_part) + at + domain, check_deliverability=False, globally_deliverable=False, strict=True
        )
    except (validator.EmailNotValidError, UnicodeError) as error:
        reason = str(error) if isinstance(error, validator.EmailNotValidError) else "The email address is not text."
        raise InvalidEmailError(reason) from error
    folded = _fold(address.local_part)
    if ENCODED_WORD in folded:
        raise InvalidEmailError("The email address holds =?, which mail programs decode.")
    return f"{folded}@{address.ascii_domain}"


def mask_email(email: str) -> str:
    """Return an address that only its owner recognises: ``a…@example.com``."""
    local, _, domain = email.partition("@")
    return f"{local[:1]}…@{domain}"
