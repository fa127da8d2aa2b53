"""Client authentication (RFC 6749 section 2.3, OpenID Connect Core section 9): one file for each method.

:func:`authenticate` reads the credentials of a request by the table in :mod:`.methods`, and verifies them.
"""

from idp.oauth.clients.authentication.service import authenticate

__all__ = ["authenticate"]
