"""The method ``client_secret_post``: a secret in the body (RFC 6749 section 2.3.1)."""

from idp.oauth.clients.authentication.credentials import Credentials, Sent
from idp.oauth.clients.authentication.secrets import has_secret


def client_secret_post(sent: Sent) -> Credentials | None:
    """Read the secret."""
    if "client_secret" not in sent.form:
        return None
    return Credentials(sent.form.get("client_id", ""), has_secret(sent.form["client_secret"]))
