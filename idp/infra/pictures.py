"""Uploaded pictures: their kind, by their first bytes.

Only raster images are accepted: an SVG is a document that can run scripts, and filters for SVG have been bypassed again
and again.
"""

from typing import Final

from idp.errors import ValidationError

#: Bytes; a logo is shown at 52 pixels.
MAX_BYTES: Final = 48 * 1024


class InvalidPictureError(ValidationError):
    """The picture is too large, or of a kind that is not accepted."""


def media_type(content: bytes, *, limit: int = MAX_BYTES) -> str:
    """Return the media type of a picture, by its first bytes and not by its file name.

    Raises:
        InvalidPictureError: the format is not accepted, or it is too large.
    """
    if len(content) > limit:
        raise InvalidPictureError(f"The picture has more than {limit // 1024} KiB.")
    kinds = {
        "image/png": content.startswith(b"\x89PNG\r\n\x1a\n"),
        "image/jpeg": content.startswith(b"\xff\xd8\xff"),
        "image/gif": content.startswith((b"GIF87a", b"GIF89a")),
        "image/webp": content[:4] == b"RIFF" and content[8:12] == b"WEBP",
    }
    found = next((kind for kind, fits in kinds.items() if fits), None)
    if found is None:
        raise InvalidPictureError(
            "The picture must be a PNG, JPEG, GIF or WebP file. SVG, which can run scripts, is not."
        )
    return found
