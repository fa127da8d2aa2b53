"""The names of groups, organizations and roles: what is a name, and which names are the same."""

import re
import unicodedata

from idp.errors import ValidationError
from idp.infra.visible_text import INVISIBLE, is_line, mixes_alphabets

MAX_LENGTH = 100
MAX_DESCRIPTION = 500
#: Several characters that are typed may be one character that is stored.
_LONGER = 4
#: A slug is a label of a host name (RFC 1123 section 2.1) in lower case.
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class InvalidNameError(ValidationError):
    """The name or the description cannot be used."""


def checked(name: str) -> str:
    """Return a name in the form in which it is stored (Unicode NFC).

    Raises:
        InvalidNameError: it is empty, too long, begins or ends with a space, has characters that do not print or change
            the direction of the text, or mixes letters of alphabets that look alike.
    """
    name = unicodedata.normalize("NFC", _short(name, MAX_LENGTH))
    if not is_line(name, MAX_LENGTH):
        raise InvalidNameError(
            f"The name must be one line of 1 to {MAX_LENGTH} visible characters, without spaces around it."
        )
    if mixes_alphabets(name):
        raise InvalidNameError("The name mixes letters of alphabets that look alike.")
    return name


def checked_slug(slug: str) -> str:
    """Return a slug.

    Raises:
        InvalidNameError: it has other characters than ASCII letters in lower case, digits and hyphens, has more than 63
            of them, begins or ends with a hyphen, or looks like an id.
    """
    if not _SLUG.fullmatch(slug) or _UUID.fullmatch(slug):
        raise InvalidNameError(
            "The slug must be 1 to 63 lower-case letters a to z, digits and hyphens, with no hyphen at either end."
        )
    return slug


def is_id(text: str) -> bool:
    """Return whether a text is an id and so no slug."""
    return _UUID.fullmatch(text) is not None


def is_slug_or_id(text: str) -> bool:
    """Return whether a text can be the slug or the id of an organization."""
    return _SLUG.fullmatch(text) is not None


def checked_description(text: str) -> str:
    """Return a description in the form in which it is stored.

    Raises:
        InvalidNameError: it is too long, or has characters that do not print.
    """
    text = unicodedata.normalize("NFC", _short(text, MAX_DESCRIPTION).strip())
    if len(text) > MAX_DESCRIPTION or not text.isprintable() or INVISIBLE.search(text):
        raise InvalidNameError(f"The description must be one line of up to {MAX_DESCRIPTION} visible characters.")
    return text


def key(name: str) -> str:
    """Return the form in which names are compared: without regard to case and to compatibility forms of letters.

    A text that is too long for a name is cut, and is the key of none.
    """
    name = name[: _LONGER * MAX_LENGTH]
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _short(text: str, limit: int) -> str:
    """Return a text that is not much longer than it may be. Normalisation takes quadratic time.

    Raises:
        InvalidNameError: it is longer.
    """
    if len(text) > _LONGER * limit:
        raise InvalidNameError(f"The text is longer than {limit} characters.")
    return text
