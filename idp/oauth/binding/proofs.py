"""Reading the proofs of possession of a request."""

from typing import Any
from urllib.parse import quote

from litestar import Request

from idp.errors import InvalidDPoPProofError, InvalidRequestError, UseDPoPNonceError
from idp.http.headers import request_headers
from idp.infra.request_context import head, response_headers
from idp.keys.algorithms import PROOF_ALGORITHMS
from idp.oauth.binding import certificates, dpop, explain
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.binding.dpop import Proof, Target
from idp.oauth.clients import profiles
from idp.oauth.clients.models import Client
from idp.oauth.parameters import Parameters
from idp.reasons import Reason
from idp.settings import settings

AnyRequest = Request[Any, Any, Any]
#: Characters of a path that need no escaping (RFC 3986 section 3.3).
_PATH = "/!$&'()*+,;=:@~"


def checked(request: AnyRequest, client: Client | None, access_token: str | None = None) -> Proof | None:
    """Return the DPoP proof of a request, checked and not yet used up; None if the request has no DPoP header.

    The response gets a new nonce if the client needs one.

    Args:
        client: who sends the request, or whom the access token was issued to.
        access_token: the token that the proof must be made for, at a protected resource.

    Raises:
        InvalidDPoPProofError: the proof is invalid.
    """
    headers = request_headers(request.scope, b"dpop")
    if not headers:
        return None
    # The method of a HEAD request is GET by now.
    method = "HEAD" if head.get() else str(request.scope["method"])
    path = quote(request.scope["path"], safe=_PATH)
    urls = [base + path for base in (settings().issuer, settings().mtls_url) if base is not None]
    algorithms = PROOF_ALGORITHMS if client is None else profiles.algorithms(client, PROOF_ALGORITHMS)
    try:
        proof = dpop.check(headers, Target(method, urls, access_token, algorithms))
    except InvalidDPoPProofError as error:
        explain.refused(headers, method, urls, error)
        if isinstance(error, UseDPoPNonceError):
            _give(error.nonce)
        raise
    if proof.next_nonce is not None:
        _give(proof.next_nonce)
    return proof


async def dpop_key(request: AnyRequest, client: Client | None, access_token: str | None = None) -> str | None:
    """Return the thumbprint of the key of the DPoP proof, which is used up; None if the request has no DPoP header.

    The arguments are those of :func:`checked`.

    Raises:
        InvalidDPoPProofError: the proof is invalid, or was used before.
    """
    proof = checked(request, client, access_token)
    if proof is None:
        return None
    await dpop.use_up(proof)
    return proof.jkt


def _give(nonce: str) -> None:
    """Give the client a nonce (RFC 9449 sections 8 and 8.2)."""
    response_headers.set((*response_headers.get(), (b"dpop-nonce", nonce.encode("ascii"))))


async def confirmation(request: AnyRequest, client: Client) -> Confirmation | None:
    """Return the key that the tokens of a token request are bound to; None if it proves none.

    Raises:
        InvalidDPoPProofError: the proof is invalid, or the client must send one and does not.
        InvalidRequestError: the client must present its certificate and does not.
    """
    jkt = await dpop_key(request, client)
    if jkt is None and client.dpop_bound_access_tokens:
        raise InvalidDPoPProofError("This client must send a DPoP proof.", Reason.PROOF_MISSING)
    certificate = certificates.presented() if client.tls_client_certificate_bound_access_tokens else None
    if certificate is None and client.tls_client_certificate_bound_access_tokens:
        # RFC 8705 section 3 leaves the error open.
        raise InvalidRequestError("This client must present its TLS certificate.")
    x5t = certificate.thumbprint if certificate is not None else None
    return Confirmation(jkt=jkt, x5t_s256=x5t) if jkt or x5t else None


def with_dpop_jkt(parameters: Parameters, proof: Proof | None) -> Parameters:
    """Return the parameters of an authorization request that the client sends itself, with the key of its proof as
    ``dpop_jkt`` (RFC 9449 section 10.1).

    Raises:
        InvalidDPoPProofError: the parameters name another key.
    """
    if proof is None:
        return parameters
    if parameters.get("dpop_jkt", proof.jkt) != proof.jkt:
        raise InvalidDPoPProofError("dpop_jkt is not the thumbprint of the DPoP key.", Reason.WRONG_KEY)
    return {**parameters, "dpop_jkt": proof.jkt}
