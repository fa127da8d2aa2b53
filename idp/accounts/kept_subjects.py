"""Subjects of another issuer that users keep, such as ``auth0|5f7c8ec7c33c6c004bbafe82``.

The public subject of a user is the id of the user as text. A subject that is no UUID is packed into the id: a UUID of
version 8 (RFC 9562 section 5.8), whose free bits hold a mark, a form and the value. So nothing is stored, no statement
is longer, and each of the two follows from the other (docs/decisions/0102-migration.md).
"""

import string
from typing import NamedTuple
from uuid import UUID

_HEX, _DECIMAL = "0123456789abcdef", string.digits
_TEXT = string.digits + string.ascii_letters + "-_"


class _Form(NamedTuple):
    """A kind of subject: its beginning, and what follows in an alphabet.

    ``length`` is the number of characters; 0: a number without leading zeros.
    """

    prefix: str
    alphabet: str
    length: int = 0


#: Ids contain the place in this list. Forms are only added, at the end.
FORMS = (
    _Form("auth0|", _HEX, 24),
    _Form("auth0|", _DECIMAL),
    _Form("google-oauth2|", _DECIMAL),
    _Form("github|", _DECIMAL),
    _Form("facebook|", _DECIMAL),
    _Form("twitter|", _DECIMAL),
    _Form("email|", _HEX, 24),
    _Form("sms|", _HEX, 24),
    _Form("windowslive|", _HEX, 16),
    _Form("linkedin|", _TEXT, 10),
)
_VALUE_BITS, _FORM_BITS = 96, 8
#: Distinguishes these ids from others of version 8.
_MARK = 0b10_1101_0011_0110_1011
_LOW, _MIDDLE = (1 << 62) - 1, (1 << 12) - 1


def user_id(subject: str) -> UUID | None:
    """Return the id of the user with a public subject; None: no user can have it."""
    for number, form in enumerate(FORMS):
        if subject.startswith(form.prefix):
            value = _value(subject.removeprefix(form.prefix), form)
            if value is not None:
                return _packed(number, value)
    try:
        found = UUID(subject)
    except ValueError:
        return None
    return found if str(found) == subject == text(found) else None


def text(user_id: UUID) -> str:
    """Return the public subject of a user."""
    number = user_id.int
    # The version and the variant.
    if number >> 76 & 0xF != 8 or number >> 62 & 0b11 != 0b10:
        return str(user_id)
    free = (number >> 80) << 74 | (number >> 64 & _MIDDLE) << 62 | number & _LOW
    form, value = free >> _VALUE_BITS & ((1 << _FORM_BITS) - 1), free & ((1 << _VALUE_BITS) - 1)
    if free >> _VALUE_BITS + _FORM_BITS != _MARK or form >= len(FORMS):
        return str(user_id)
    return FORMS[form].prefix + _digits(value, FORMS[form])


def _value(written: str, form: _Form) -> int | None:
    """Return the number that a text stands for, if the form has this text."""
    if not 1 <= len(written) <= 32 or not set(written) <= set(form.alphabet):
        return None
    value = 0
    for character in written:
        value = value * len(form.alphabet) + form.alphabet.index(character)
    return value if value < 1 << _VALUE_BITS and _digits(value, form) == written else None


def _digits(value: int, form: _Form) -> str:
    found = ""
    while value or not found:
        value, digit = divmod(value, len(form.alphabet))
        found = form.alphabet[digit] + found
    return found.rjust(form.length, form.alphabet[0])


def _packed(form: int, value: int) -> UUID:
    free = (_MARK << _FORM_BITS | form) << _VALUE_BITS | value
    return UUID(int=free >> 74 << 80 | 8 << 76 | (free >> 62 & _MIDDLE) << 64 | 0b10 << 62 | free & _LOW)
