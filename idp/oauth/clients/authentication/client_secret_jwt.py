"""The method ``client_secret_jwt``: an assertion with an HMAC by the client secret (OpenID Connect Core section 9)."""

from idp.keys import jose
from idp.keys.algorithms import SECRET_ALGORITHMS
from idp.oauth.clients.authentication import assertions
from idp.oauth.clients.authentication.credentials import Credentials, Failure, Sent
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.shared_secrets import shared_secrets
from idp.reasons import Reason

#: Verifies nothing, in the same time.
_NO_SECRET = "-" * 43


def client_secret_jwt(sent: Sent) -> Credentials | None:
    """Read an assertion whose algorithm needs a shared secret."""
    assertion = assertions.read(sent)
    if assertion is None or assertion.alg not in SECRET_ALGORITHMS or registry.trusts(assertion):
        return None

    async def verify(client: Client | None) -> Failure | None:
        secrets = shared_secrets(client) if client is not None else []
        only = client.token_endpoint_auth_signing_alg if client is not None else None
        algorithms = [alg for alg in SECRET_ALGORITHMS if only in (None, alg)]
        claims, failure = None, None
        for secret in secrets or [_NO_SECRET]:
            try:
                claims = jose.verify_shared(assertion.token, secret, algorithms, assertions.TYPES)
                break
            except jose.InvalidJWTError as error:
                failure = failure or Failure(error.reason, f"the assertion: {error.description.rstrip('.')}")
        if client is None or not secrets:
            return failure or Failure(Reason.NO_SECRET_SET, "the client has no secret that it could sign with")
        if claims is None:
            return failure
        return await assertions.check(claims, client, sent)

    return Credentials(assertion.subject, verify)
