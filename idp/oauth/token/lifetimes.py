"""For how long the tokens of a client are valid: as the settings say, or shorter if the client says so.

Never longer, so that keys, the revocation list and the clean-up, which know the settings only, last for every token.
"""

from datetime import datetime, timedelta

from idp import clock
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.settings import settings


def of_access_tokens(client: Client) -> int:
    """Return the lifetime of an access token in seconds."""
    return _shorter(settings().access_token_lifetime, client.access_token_lifetime)


def of_refresh_tokens(client: Client) -> int:
    """Return the lifetime of an unused refresh token in seconds: at most that of its family."""
    return min(_shorter(settings().refresh_token_lifetime, client.refresh_token_lifetime), of_families(client))


def of_families(client: Client) -> int:
    """Return the seconds after which the refresh tokens of a sign-in expire, however often they are used."""
    return _shorter(settings().refresh_token_family_lifetime, client.refresh_token_family_lifetime)


def oldest_family(client: Client) -> datetime:
    """Return the time before which families of a client yield no tokens: its not-before, or later if they may last
    less long now than when they started.
    """
    return max(registry.not_before(client), clock.now() - timedelta(seconds=of_families(client)))


def _shorter(setting: int, own: int | None) -> int:
    return setting if own is None else min(setting, own)
