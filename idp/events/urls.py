"""The URLs of receivers."""

from idp.errors import ValidationError
from idp.oauth.clients import uris
from idp.oauth.clients.uris import InvalidURIError
from idp.settings import settings


def check(url: str) -> None:
    """Check the URL of a receiver. Its address is checked at every call (:mod:`idp.infra.outbound`).

    Raises:
        ValidationError: it is not an absolute https URL.
    """
    try:
        uris.check_link(url)
    except InvalidURIError as error:
        raise ValidationError(f"The URL {error.description}.") from error
    if not url.startswith("https:") and not settings().outbound_allow_http:
        raise ValidationError("The URL must use https.")
