"""The method ``client_secret_basic``: a secret in the Authorization header (RFC 6749 section 2.3.1)."""

from idp.oauth.clients.authentication.credentials import Credentials, Sent
from idp.oauth.clients.authentication.secrets import has_secret


def client_secret_basic(sent: Sent) -> Credentials | None:
    """Read the secret. An empty one is no secret: it is that of a public client."""
    found = sent.basic
    return Credentials(found.client_id, has_secret(found.secret)) if found is not None and found.secret else None
