"""Which values an attribute accepts, in JSON and as text."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import date

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.attributes.errors import InvalidValueError
from idp.accounts.attributes.models import MAX_LENGTH, MAX_VALUES, Attribute, Type, Value
from idp.accounts.profile import web_address
from idp.errors import ValidationError
from idp.infra.i18n import gettext as _
from idp.infra.json_schema import matches
from idp.infra.visible_text import INVISIBLE

#: The largest integer that every JSON parser reads exactly (RFC 7493 section 2.2).
MAX_NUMBER = 2**53 - 1
_INTEGER = re.compile(r"[+-]?[0-9]{1,16}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,16}(\.[0-9]{1,16})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class _RefusedError(ValidationError):
    """The value is refused. The message is one sentence for the person."""


def checked(attribute: Attribute, given: object) -> list[Value]:
    """Return the values to store. Of an attribute without value: none.

    Args:
        given: JSON. A list, if there may be several; None, an empty text or an empty list for no value.

    Raises:
        InvalidValueError: a value is not of the type, or not within the limits.
    """
    if given in (None, "", []):
        return []
    try:
        if isinstance(given, list) != attribute.multivalued:
            raise _RefusedError(_("Give a list of values.") if attribute.multivalued else _("Give one value."))
        if not isinstance(given, list):
            return [_checked(attribute, given)]
        if len(given) > MAX_VALUES:
            raise _RefusedError(_("There may be at most %(number)s values.", number=MAX_VALUES))
        return list(dict.fromkeys(_checked(attribute, one) for one in given))
    except _RefusedError as error:
        raise InvalidValueError(attribute.name, str(error)) from error


def parse(attribute: Attribute, text: str) -> object:
    """Return what text means, for :func:`checked`: one value, or one on each line if there may be several."""
    if not attribute.multivalued:
        return parse_each(attribute, [text])
    # Cut before it is split: the rest is refused anyway.
    return parse_each(attribute, text[: (MAX_LENGTH + 2) * (MAX_VALUES + 1)].splitlines())


def parse_each(attribute: Attribute, texts: Iterable[str]) -> object:
    """Return what texts mean, for :func:`checked`. Empty ones are left out."""
    found = [parse_one(attribute.type, text.strip()) for text in texts if text.strip()]
    return found if attribute.multivalued or len(found) > 1 else next(iter(found), None)


def parse_one(type: Type, text: str) -> object:
    """Return the value of a type. Text that is none stays as it is, to be refused."""
    if type is Type.INTEGER and _INTEGER.fullmatch(text):
        return int(text)
    if type is Type.NUMBER and _NUMBER.fullmatch(text):
        return float(text)
    if type is Type.BOOLEAN:
        return _BOOLEANS.get(text.lower(), text)
    return text


def parse_limit(text: str) -> int | float | str:
    """Return the number that text means, or the text itself: it may be a date."""
    limit = parse_one(Type.INTEGER, text)
    return limit if isinstance(limit, int) else float(text) if _NUMBER.fullmatch(text) else text


def _checked(attribute: Attribute, value: object) -> Value:
    return _CHECKS[attribute.type](attribute, value)


def _line(value: object) -> str:
    """Return text of one line whose characters can all be seen, in the form in which it is stored (Unicode NFC)."""
    if not isinstance(value, str):
        raise _RefusedError(_("This must be text."))
    if len(value) > MAX_LENGTH:
        raise _RefusedError(_("The text may have at most %(number)s characters.", number=MAX_LENGTH))
    value = unicodedata.normalize("NFC", value.strip())
    if not value or not value.isprintable() or INVISIBLE.search(value):
        raise _RefusedError(_("The text is empty, or has characters that cannot be shown."))
    return value


def _string(attribute: Attribute, value: object) -> str:
    text = _line(value)
    if attribute.min_length is not None and len(text) < attribute.min_length:
        raise _RefusedError(_("The text must have at least %(number)s characters.", number=attribute.min_length))
    if attribute.max_length is not None and len(text) > attribute.max_length:
        raise _RefusedError(_("The text may have at most %(number)s characters.", number=attribute.max_length))
    if attribute.pattern is not None and not matches(attribute.pattern, text):
        raise _RefusedError(_("The text does not have the expected form."))
    return text


def _integer(attribute: Attribute, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_NUMBER:
        raise _RefusedError(_("This must be a whole number."))
    _check_range(attribute, value)
    return value


def _number(attribute: Attribute, value: object) -> float:
    # NaN compares as false.
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MAX_NUMBER:
        raise _RefusedError(_("This must be a number."))
    _check_range(attribute, value)
    # Without the sign of zero.
    return float(value) or 0.0


def _boolean(_attribute: Attribute, value: object) -> bool:
    if not isinstance(value, bool):
        raise _RefusedError(_("This must be yes or no."))
    return value


def to_date(value: object) -> date | None:
    """Return the date of text such as 1990-12-31, or None."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def _date(attribute: Attribute, value: object) -> str:
    if not isinstance(value, str) or to_date(value) is None:
        raise _RefusedError(_("This must be a date such as 1990-12-31."))
    # Dates of this form have the order of their text.
    _check_range(attribute, value)
    return value


def _check_range(attribute: Attribute, value: float | str) -> None:
    if attribute.minimum is not None and value < attribute.minimum:  # type: ignore[operator]
        raise _RefusedError(_("This must be %(limit)s or more.", limit=attribute.minimum))
    if attribute.maximum is not None and value > attribute.maximum:  # type: ignore[operator]
        raise _RefusedError(_("This may be %(limit)s at most.", limit=attribute.maximum))


def _email(_attribute: Attribute, value: object) -> str:
    try:
        return normalise_email(_line(value))
    except InvalidEmailError as error:
        raise _RefusedError(_("Enter an email address, such as name@example.com.")) from error


def _url(_attribute: Attribute, value: object) -> str:
    text = web_address(_line(value))
    if text is None:
        raise _RefusedError(_("Enter a complete link, such as https://example.com/me."))
    return text


def _choice(attribute: Attribute, value: object) -> str:
    if not isinstance(value, str) or value not in attribute.choices:
        raise _RefusedError(_("Choose one of the values."))
    return value


_CHECKS: Mapping[Type, Callable[[Attribute, object], Value]] = {
    Type.STRING: _string,
    Type.INTEGER: _integer,
    Type.NUMBER: _number,
    Type.BOOLEAN: _boolean,
    Type.DATE: _date,
    Type.EMAIL: _email,
    Type.URL: _url,
    Type.CHOICE: _choice,
}
