"""The media type in a ``Content-Type`` header (RFC 9110 section 8.3.1)."""

JSON = "application/json"


def media_type(content_type: str | None) -> str:
    """Return the media type of a header, in lower case and without its parameters; nothing if there is no header."""
    return (content_type or "").partition(";")[0].strip().lower()
