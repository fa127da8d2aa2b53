"""URLs of servers that we send requests to."""

from idp.errors import ValidationError
from idp.oauth.clients.uris import InvalidURIError, check_link
from idp.settings import settings


def check_receiver(url: str) -> None:
    """Check the URL of a server that we send requests to. Its address is checked at every call
    (:mod:`idp.infra.outbound`).

    Raises:
        ValidationError: it is not an absolute https URL.
    """
    try:
        check_link(url)
    except InvalidURIError as error:
        raise ValidationError(f"The URL {error.description}.") from error
    if not url.startswith("https:") and not settings().outbound_allow_http:
        raise ValidationError("The URL must use https.")
