"""How a client authenticates (OpenID Connect Core section 9, RFC 8705 section 2)."""

import ipaddress

from idp.keys.algorithms import SECRET_ALGORITHMS, VERIFICATION_ALGORITHMS
from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata
from idp.oauth.clients.uris import InvalidURIError, check_identifier

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
    named = [name for name in _certificate_names() if getattr(metadata, name) is not None]
    if metadata.token_endpoint_auth_method == "tls_client_auth":
        if len(named) != 1:
            raise invalid_metadata(
                f"The token_endpoint_auth_method tls_client_auth needs one of {', '.join(_certificate_names())}."
            )
    elif named:
        raise invalid_metadata(f"{named[0]} needs the token_endpoint_auth_method tls_client_auth.")


def certificate_name_is_well_formed(metadata: ClientMetadata) -> None:
    """A name that no certificate has would lock the client out."""
    if (metadata.tls_client_auth_subject_dn or "x=").find("=") < 1:
        raise invalid_metadata("tls_client_auth_subject_dn must be a distinguished name, as CN=client,O=Example.")
    if "@" not in (metadata.tls_client_auth_san_email or "@"):
        raise invalid_metadata("tls_client_auth_san_email must be an email address.")
    try:
        ipaddress.ip_address(metadata.tls_client_auth_san_ip or "::1")
    except ValueError as error:
        raise invalid_metadata("tls_client_auth_san_ip must be an IP address.") from error
    try:
        check_identifier(metadata.tls_client_auth_san_uri or "urn:x")
    except InvalidURIError as error:
        raise invalid_metadata(f"tls_client_auth_san_uri {error}.") from error


def _certificate_names() -> tuple[str, ...]:
    return tuple(name for name in ClientMetadata.__struct_fields__ if name.startswith("tls_client_auth_"))


CHECKS = (assertion_algorithm_fits, certificate_is_named_once, certificate_name_is_well_formed)
