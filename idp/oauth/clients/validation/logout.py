"""The URLs that are told when a session ends (OpenID Connect Back-Channel and Front-Channel Logout)."""

from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata
from idp.oauth.clients.uris import origin_of


def logout_uris_have_a_session(metadata: ClientMetadata) -> None:
    """Only a client with redirect URIs takes part in sessions."""
    for name in ("backchannel_logout_uri", "frontchannel_logout_uri"):
        if getattr(metadata, name) is not None and not metadata.redirect_uris:
            raise invalid_metadata(f"{name} needs a client with redirect_uris, which takes part in sessions.")


def frontchannel_logout_uri_is_at_the_client(metadata: ClientMetadata) -> None:
    """OpenID Connect Front-Channel Logout section 2: the scheme, host and port of a redirect URI."""
    uri = metadata.frontchannel_logout_uri
    if uri is not None and origin_of(uri) not in map(origin_of, metadata.redirect_uris):
        raise invalid_metadata("frontchannel_logout_uri must have the scheme, host and port of a redirect URI.")


CHECKS = (logout_uris_have_a_session, frontchannel_logout_uri_is_at_the_client)
