"""How a client authenticates (OpenID Connect Core section 9, RFC 8705 section 2)."""

import ipaddress
from collections.abc import Callable

from idp.keys.algorithms import SECRET_ALGORITHMS, VERIFICATION_ALGORITHMS
from idp.oauth.binding import certificates
from idp.oauth.clients.auth_methods import TLS_METHODS
from idp.oauth.clients.certificate_names import distinguished_name
from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata
from idp.oauth.clients.uris import InvalidURIError, check_identifier, is_dns_name
from idp.settings import settings

#: The algorithms of assertions, by the method that uses them.
ASSERTION_ALGORITHMS = {"client_secret_jwt": SECRET_ALGORITHMS, "private_key_jwt": VERIFICATION_ALGORITHMS}


def assertion_algorithm_fits(metadata: ClientMetadata) -> None:
    """OpenID Connect Registration section 2: an algorithm with a secret for one method, with a key for the other."""
    if metadata.token_endpoint_auth_signing_alg is None:
        return
    algorithms = ASSERTION_ALGORITHMS.get(metadata.token_endpoint_auth_method)
    if algorithms is None:
        methods = " or ".join(ASSERTION_ALGORITHMS)
        raise invalid_metadata(f"token_endpoint_auth_signing_alg needs the token_endpoint_auth_method {methods}.")
    if metadata.token_endpoint_auth_signing_alg not in algorithms:
        method = metadata.token_endpoint_auth_method
        raise invalid_metadata(
            f"token_endpoint_auth_signing_alg must be one of {', '.join(algorithms)} for the"
            f" token_endpoint_auth_method {method}."
        )


def certificate_is_named_once(metadata: ClientMetadata) -> None:
    """RFC 8705 section 2.1.2: exactly one name of the certificate, for this method only."""
    named = [name for name in NAMES_OF_CERTIFICATES if getattr(metadata, name) is not None]
    if metadata.token_endpoint_auth_method == "tls_client_auth":
        if len(named) != 1:
            raise invalid_metadata(
                f"The token_endpoint_auth_method tls_client_auth needs one of {', '.join(NAMES_OF_CERTIFICATES)}."
            )
    elif named:
        raise invalid_metadata(f"{named[0]} needs the token_endpoint_auth_method tls_client_auth.")


def certificate_name_is_well_formed(metadata: ClientMetadata) -> None:
    """A name that no certificate has would lock the client out."""
    for member, (check, what) in NAMES_OF_CERTIFICATES.items():
        name = getattr(metadata, member)
        try:
            if name is not None and not check(name):
                raise invalid_metadata(f"{member} must be {what}.")
        except ValueError as error:
            raise invalid_metadata(f"{member} must be {what}.") from error


def _is_uri(text: str) -> bool:
    try:
        check_identifier(text)
    except InvalidURIError:
        return False
    return True


#: By member, a function that returns False or raises ValueError for text that is no such name, and what it must be.
NAMES_OF_CERTIFICATES: dict[str, tuple[Callable[[str], object], str]] = {
    "tls_client_auth_subject_dn": (distinguished_name, "a distinguished name, as CN=client,O=Example"),
    "tls_client_auth_san_dns": (lambda text: is_dns_name(text.removeprefix("*.")), "a host name"),
    "tls_client_auth_san_uri": (_is_uri, "an absolute URI"),
    "tls_client_auth_san_ip": (ipaddress.ip_address, "an IP address"),
    "tls_client_auth_san_email": (lambda text: "@" in text, "an email address"),
}


def certificates_are_accepted(metadata: ClientMetadata) -> None:
    """Without a proxy that passes certificates the client could never authenticate, nor get such a token."""
    method = metadata.token_endpoint_auth_method
    if method in TLS_METHODS and not certificates.permit(method):
        raise invalid_metadata(
            f"The token_endpoint_auth_method {method} is switched off here: see IDP_CLIENT_CERTIFICATE_HEADER and"
            " IDP_CLIENT_CERTIFICATES_VERIFIED."
        )
    if metadata.tls_client_certificate_bound_access_tokens and settings().client_certificate_header is None:
        raise invalid_metadata(
            "tls_client_certificate_bound_access_tokens is switched off here: see IDP_CLIENT_CERTIFICATE_HEADER."
        )


CHECKS = (
    certificates_are_accepted,
    assertion_algorithm_fits,
    certificate_is_named_once,
    certificate_name_is_well_formed,
)
