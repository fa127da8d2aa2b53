"""The errors that the server can answer with, as one family of exceptions.

A domain raises; :mod:`idp.http.exception_handlers` alone turns an error into a response. A description is for the
developer who reads it. It is always one of our own sentences, never user input, and its characters stay inside the
set of RFC 6749 section 5.2 (no double quote, no backslash, ASCII only).
"""

from http import HTTPStatus


class OAuthError(Exception):
    """An error response of the protocol.

    Attributes:
        error: the code, from RFC 6749, OpenID Connect Core or the specification of the endpoint.
        description: one plain sentence.
        status: the HTTP status where the error is answered directly and not by redirect.
        reason: for the operator's log alone: what the answer does not tell. By default the description.
    """

    def __init__(
        self, error: str, description: str, status: int = HTTPStatus.BAD_REQUEST, *, reason: str | None = None
    ) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status
        self.reason = reason or description


class InvalidRequestError(OAuthError):
    """A parameter is missing, repeated or malformed (RFC 6749 sections 4.1.2.1 and 5.2)."""

    def __init__(self, description: str, *, reason: str | None = None) -> None:
        super().__init__("invalid_request", description, reason=reason)


class InvalidGrantError(OAuthError):
    """The code or refresh token is not valid, or not for this client (RFC 6749 section 5.2)."""

    def __init__(self, description: str) -> None:
        super().__init__("invalid_grant", description)


class InvalidScopeError(OAuthError):
    """The scope is unknown, malformed or more than allowed (RFC 6749 section 5.2)."""

    def __init__(self, description: str) -> None:
        super().__init__("invalid_scope", description)


class InvalidTargetError(OAuthError):
    """The resource is unknown, malformed or not allowed (RFC 8707 section 2)."""

    def __init__(self, description: str) -> None:
        super().__init__("invalid_target", description)


class UnauthorizedClientError(OAuthError):
    """The client may not use this grant or response type (RFC 6749 section 5.2)."""

    def __init__(self, description: str) -> None:
        super().__init__("unauthorized_client", description)


class InvalidClientError(OAuthError):
    """Client authentication failed (RFC 6749 section 5.2).

    Attributes:
        challenge: whether the client tried the Authorization header, so that the answer must carry WWW-Authenticate.
    """

    def __init__(
        self,
        description: str = "Client authentication failed.",
        *,
        challenge: bool = False,
        reason: str | None = None,
    ) -> None:
        super().__init__("invalid_client", description, HTTPStatus.UNAUTHORIZED, reason=reason)
        self.challenge = challenge


class BearerError(OAuthError):
    """A protected resource refuses an access token (RFC 6750 section 3.1)."""


class InvalidTokenError(BearerError):
    """The access token is expired, revoked, malformed or otherwise invalid."""

    def __init__(self, description: str = "The access token is not valid.") -> None:
        super().__init__("invalid_token", description, HTTPStatus.UNAUTHORIZED)


class MissingTokenError(InvalidTokenError):
    """There is no access token. The challenge then names no error (RFC 6750 section 3.1)."""

    def __init__(self) -> None:
        super().__init__("There is no access token.")


class InsufficientScopeError(BearerError):
    """The access token does not carry the scope that the resource needs."""

    def __init__(self, scope: str) -> None:
        super().__init__("insufficient_scope", "The access token lacks a scope.", HTTPStatus.FORBIDDEN)
        self.scope = scope


class InsufficientUserAuthenticationError(BearerError):
    """The sign-in behind the access token was not strong enough (RFC 9470 section 3)."""

    def __init__(self, acr_values: str) -> None:
        super().__init__("insufficient_user_authentication", "A stronger sign-in is needed.", HTTPStatus.UNAUTHORIZED)
        self.acr_values = acr_values


class PageError(Exception):
    """A problem shown to the person at the browser, as a page with a way out.

    Attributes:
        title, message: plain words for a person, without jargon.
        error: the protocol's error code where one applies, else None.
        status: the HTTP status.
        reason: for the operator's log: why, in English and in terms of the protocol.
        way_out: where to go on, as pairs of label and URL; the start page if empty.
        template: the page that shows it.
    """

    template = "error.html"

    def __init__(
        self,
        title: str,
        message: str,
        *,
        error: str | None = None,
        status: int = HTTPStatus.BAD_REQUEST,
        reason: str | None = None,
        way_out: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(f"{title}: {message}")
        self.title = title
        self.message = message
        self.error = error
        self.status = status
        self.reason = reason
        self.way_out = way_out


class TooManyRequestsError(Exception):
    """Somebody does something more often than is allowed; answered with 429 and Retry-After (RFC 6585 section 4).

    Attributes:
        retry_after: how long to wait, in seconds.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"allowed again in {retry_after} s")
        self.retry_after = max(1, retry_after)


class OverloadedError(Exception):
    """More work is waiting than can be done in good time; answered with 503 and Retry-After."""

    retry_after = 2


class NoSigningKeyError(LookupError):
    """There is no active key of this algorithm; answered with 503 and Retry-After."""

    def __init__(self, alg: str) -> None:
        super().__init__(f"There is no active {alg} key. Create one with `idp keys generate`.")
