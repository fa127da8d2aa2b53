"""The rules for client metadata, one function each, in a file for each subject.

RFC 7591 section 2, OpenID Connect Dynamic Client Registration section 2, RFC 8252. A refusal names the member and says
why. The one rule that needs a request to another server is in :mod:`idp.oauth.clients.sectors`.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from idp.errors import OAuthError
from idp.oauth.clients.members import MEMBERS, Kind, kind_of
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.profiles import check as profile_is_met
from idp.oauth.clients.profiles import completed as with_profile
from idp.oauth.clients.validation import authentication, backchannel, general, grants, keys, logout, requests, tokens

CHECKS: tuple[Callable[[ClientMetadata], None], ...] = (
    *general.CHECKS,
    profile_is_met,
    *grants.CHECKS,
    *keys.CHECKS,
    *authentication.CHECKS,
    *tokens.CHECKS,
    *requests.CHECKS,
    *logout.CHECKS,
    *backchannel.CHECKS,
)


def not_possible(metadata: ClientMetadata) -> dict[str, str]:
    """Return the members that cannot have another value while the others stay, each with the reason.

    For members with a flag or with a list of values. The rules themselves are asked, with each value.
    """
    return {name: reason for name in MEMBERS if (reason := _why_not(metadata, name)) is not None}


def _why_not(metadata: ClientMetadata, name: str) -> str | None:
    current, reason = getattr(metadata, name), None
    if kind_of(name) is Kind.FLAG:
        others: list[Any] = [not current]
    elif kind_of(name) is Kind.TEXT:
        others = [value for value in MEMBERS[name].choices or () if value != current]
    else:
        others = []
    # Whoever chooses a profile gets the values that it requires.
    named = {"profile"} if name == "profile" else MEMBERS
    for other in others:
        try:
            validate(with_profile(msgspec.structs.replace(metadata, **{name: other}), named))
        except OAuthError as error:
            reason = error.description
        else:
            return None
    return reason


def validate(metadata: ClientMetadata) -> ClientMetadata:
    """Check metadata against every rule, and complete it with the defaults that depend on other members.

    Raises:
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata``.
    """
    whole = completed(metadata)
    for check in CHECKS:
        check(whole)
    return whole


def completed(metadata: ClientMetadata) -> ClientMetadata:
    """Return metadata with the defaults that depend on other members. It may break rules."""
    return tokens.with_content_encryption(backchannel.with_delivery_mode(grants.with_response_types(metadata)))
