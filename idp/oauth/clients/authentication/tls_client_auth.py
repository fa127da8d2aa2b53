"""The method ``tls_client_auth``: a certificate of a trusted authority (RFC 8705 section 2.1)."""

from idp.oauth.binding import certificates
from idp.oauth.clients.authentication.credentials import Credentials, Failure, Sent, only_client_id
from idp.oauth.clients.certificate_names import NAMES
from idp.oauth.clients.models import Client
from idp.reasons import Reason


def tls_client_auth(sent: Sent) -> Credentials | None:
    """Read the ``client_id`` beside a certificate."""
    client_id = only_client_id(sent)
    certificate = certificates.presented() if client_id is not None else None
    if client_id is None or certificate is None:
        return None

    async def verify(client: Client | None) -> Failure | None:
        if not certificate.verified:
            return Failure(Reason.UNTRUSTED_CERTIFICATE, "the proxy has not verified its certificate")
        registered = [] if client is None else [(name, getattr(client, name)) for name in NAMES]
        # Exactly one is registered (RFC 8705 section 2.1.2).
        if any(value is not None and NAMES[name](certificate.x509, value) for name, value in registered):
            return None
        return Failure(Reason.UNTRUSTED_CERTIFICATE, "its certificate does not have the registered name")

    return Credentials(client_id, verify, implicit=True)
