"""Backchannel authentication (CIBA Core section 4)."""

import msgspec

from idp.oauth.ciba import GRANT_TYPE
from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata

#: The members that this grant is about.
MEMBERS = (
    "backchannel_token_delivery_mode",
    "backchannel_client_notification_endpoint",
    "backchannel_authentication_request_signing_alg",
    "backchannel_user_code_parameter",
)


def with_delivery_mode(metadata: ClientMetadata) -> ClientMetadata:
    """Return the metadata with the default mode, which needs no endpoint of the client."""
    if GRANT_TYPE not in metadata.grant_types or metadata.backchannel_token_delivery_mode is not None:
        return metadata
    return msgspec.structs.replace(metadata, backchannel_token_delivery_mode="poll")  # noqa: S106


def members_need_the_grant(metadata: ClientMetadata) -> None:
    """A member without the grant would have no effect."""
    if GRANT_TYPE in metadata.grant_types:
        return
    for name in MEMBERS:
        if getattr(metadata, name) not in (None, False):
            raise invalid_metadata(f"{name} needs the grant {GRANT_TYPE}.")


def client_authenticates(metadata: ClientMetadata) -> None:
    """Anybody could ask in the name of a public client."""
    if GRANT_TYPE in metadata.grant_types and metadata.public:
        raise invalid_metadata(f"The grant {GRANT_TYPE} needs a client that authenticates.")


def ping_has_an_endpoint(metadata: ClientMetadata) -> None:
    """Ping needs an https URL that this server calls; poll has no use for it."""
    endpoint, mode = metadata.backchannel_client_notification_endpoint, metadata.backchannel_token_delivery_mode
    if (endpoint is not None) != (mode == "ping"):
        raise invalid_metadata("backchannel_client_notification_endpoint is needed for ping, and only for it.")
    if endpoint is not None and not endpoint.startswith("https:"):
        raise invalid_metadata("backchannel_client_notification_endpoint must be an https URL.")


def user_code_is_not_supported(metadata: ClientMetadata) -> None:
    """Users sign in before they decide, so that nobody can answer for them."""
    if metadata.backchannel_user_code_parameter:
        raise invalid_metadata("backchannel_user_code_parameter is not supported.")


CHECKS = (members_need_the_grant, client_authenticates, ping_has_an_endpoint, user_code_is_not_supported)
