"""Client-Initiated Backchannel Authentication (OpenID Connect CIBA Core 1.0): a client asks a user who is elsewhere.

The client sends a request to :mod:`idp.oauth.ciba.endpoint`. The user gets a mail, signs in and decides on a page
(:mod:`idp.oauth.ciba.pages`). The client polls the token endpoint (:mod:`idp.oauth.token.ciba`), or is called first
(:mod:`idp.oauth.ciba.ping`). Push is not supported (docs/decisions/0069-ciba.md).
"""

from typing import Final

from idp.oauth.grant_types import CIBA
from idp.settings import settings

GRANT_TYPE: Final = CIBA
#: The path of the endpoint.
PATH: Final = "/backchannel-authentication"


def is_on() -> bool:
    """Return whether clients may use it."""
    return settings().ciba
