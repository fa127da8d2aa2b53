"""Where an application begins a sign-in by itself (OpenID Connect Core section 4)."""

from urllib.parse import urlencode, urlsplit

from idp.oauth.clients.models import Client
from idp.settings import settings


def login_uri(client: Client) -> str | None:
    """Return the ``initiate_login_uri`` of a client with the issuer that it is told; None if it has none."""
    if client.initiate_login_uri is None:
        return None
    parts = urlsplit(client.initiate_login_uri)
    query = "&".join(filter(None, (parts.query, urlencode({"iss": settings().issuer}))))
    return parts._replace(query=query).geturl()
