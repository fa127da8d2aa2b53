"""The rules for client metadata, one function each, in a file for each subject.

RFC 7591 section 2, OpenID Connect Dynamic Client Registration section 2, RFC 8252. A refusal names the member and says
why. The one rule that needs a request to another server is in :mod:`idp.oauth.clients.sectors`.
"""

from collections.abc import Callable

from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.validation import authentication, general, grants, keys, requests, tokens

CHECKS: tuple[Callable[[ClientMetadata], None], ...] = (
    *general.CHECKS,
    *grants.CHECKS,
    *keys.CHECKS,
    *authentication.CHECKS,
    *tokens.CHECKS,
    *requests.CHECKS,
)


def validate(metadata: ClientMetadata) -> ClientMetadata:
    """Check metadata against every rule, and complete it with the defaults that depend on other members.

    Raises:
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata``.
    """
    completed = tokens.with_content_encryption(grants.with_response_types(metadata))
    for check in CHECKS:
        check(completed)
    return completed
