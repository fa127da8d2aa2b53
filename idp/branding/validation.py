"""Validation of a branding: colours and their contrast, links, and pictures."""

import base64
import binascii
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import msgspec

from idp.branding import contrast
from idp.branding.models import COLORS, CORNERS, FIELDS, FONTS, PICTURES, TEXTS, URIS, WAYS, Branding, Picture
from idp.errors import ValidationError
from idp.infra import colors, pictures
from idp.infra.visible_text import is_line, mixes_alphabets

MAX_URI = 2048
MAX_TEXT = {"display_name": 100, "title": 80}
#: Bytes of an uploaded picture. A background fills the page.
MAX_BYTES = dict.fromkeys(PICTURES, pictures.MAX_BYTES) | {"background": 256 * 1024}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DATA = re.compile(r"data:image/[a-z+]{1,20};base64,([A-Za-z0-9+/]*={0,2})")


class InvalidBrandingError(ValidationError):
    """A part of a branding is not valid."""


def checked(values: Mapping[str, Any]) -> Branding:
    """Return a branding in the form in which it is stored. Its pictures are named by their SHA-256.

    Args:
        values: the fields of :class:`Branding`. An empty text is None.

    Raises:
        InvalidBrandingError: a value is not valid.
    """
    if unknown := values.keys() - set(FIELDS):
        raise InvalidBrandingError(f"There are no such values: {', '.join(sorted(unknown))}.")
    given = {name: value for name, value in values.items() if value not in (None, "")}
    try:
        branding = msgspec.convert(given, Branding)
    except msgspec.ValidationError as error:
        raise InvalidBrandingError("A value is of a wrong type.") from error
    _check_names(branding)
    lowered = {name: _color(name, value) for name in COLORS if (value := getattr(branding, name)) is not None}
    branding = msgspec.structs.replace(branding, **lowered)
    if (problem := contrast.problem(branding)) is not None:
        raise InvalidBrandingError(f"{problem}")
    return branding


def _check_names(branding: Branding) -> None:
    for name in TEXTS:
        if (text := getattr(branding, name)) is not None:
            _check_text(name, text)
    for name in URIS:
        if (uri := getattr(branding, name)) is not None and not is_web_page(uri):
            raise InvalidBrandingError(f"{name} must be an https URL of up to {MAX_URI} ASCII characters.")
    for name in PICTURES:
        if (value := getattr(branding, name)) is not None and not _SHA256.fullmatch(value):
            raise InvalidBrandingError(f"{name} must be the SHA-256 of a picture, or the picture as a data: URL.")
    if branding.corners not in (None, *CORNERS):
        raise InvalidBrandingError(f"corners must be one of {', '.join(CORNERS)}.")
    if branding.font not in (None, *FONTS):
        raise InvalidBrandingError(f"font must be one of {', '.join(FONTS)}.")
    if len(set(branding.ways)) != len(branding.ways) or not set(branding.ways) <= set(WAYS):
        raise InvalidBrandingError(f"ways must be some of {', '.join(WAYS)}, each once.")


def _check_text(name: str, text: str) -> None:
    label, limit = name.replace("_", " "), MAX_TEXT[name]
    if not is_line(text, limit):
        raise InvalidBrandingError(
            f"The {label} must be one line of up to {limit} visible characters, without spaces around it."
        )
    if mixes_alphabets(text):
        raise InvalidBrandingError(f"The {label} mixes letters of alphabets that look alike.")


def _color(name: str, color: str) -> str:
    if not colors.is_color(color):
        raise InvalidBrandingError(f"{name} must be a colour such as #0f5568.")
    return color.lower()


def is_web_page(uri: str) -> bool:
    """Return whether a text is an https URL without credentials, which nothing has to escape."""
    if len(uri) > MAX_URI or not uri.isascii() or not uri.isprintable() or set(uri) & set(" \\\"'<>`{}|^"):
        return False
    try:
        parts = urlsplit(uri)
        return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False


def picture(name: str, content: bytes) -> tuple[str, Picture]:
    """Return the SHA-256 of an uploaded picture, and the picture.

    Raises:
        InvalidPictureError: it is not accepted.
    """
    kind = pictures.media_type(content, limit=MAX_BYTES[name])
    return sha256(content).hexdigest(), Picture(content, kind)


def without_content(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Picture]]:
    """Return the values with pictures that are ``data:`` URLs replaced by their SHA-256, and these pictures.

    Raises:
        InvalidPictureError: one is not accepted.
    """
    found, uploaded = dict(values), dict[str, Picture]()
    for name in PICTURES:
        value = values.get(name)
        if isinstance(value, str) and value.startswith("data:"):
            found[name], content = picture(name, _content(name, value))
            uploaded[found[name]] = content
    return found, uploaded


def _content(name: str, url: str) -> bytes:
    # The length first: the expression and the decoder read all of it.
    match = _DATA.fullmatch(url) if len(url) <= MAX_BYTES[name] * 4 // 3 + 100 else None
    try:
        if match is not None:
            return base64.b64decode(match[1], validate=True)
    except binascii.Error:
        pass
    raise InvalidBrandingError(
        f"{name} must be a data: URL in base64 of a picture with at most {MAX_BYTES[name] // 1024} KiB."
    )


def data_url(found: Picture) -> str:
    """Return a picture as a ``data:`` URL."""
    return f"data:{found.media_type};base64,{base64.b64encode(found.content).decode()}"
