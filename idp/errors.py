"""The errors of this server, as one tree.

IdpError                      the root: code, description and status for the caller, reason for the operator
|- OAuthError                 an error response of the protocol (RFC 6749)
|  |- InvalidRequestError
|  |- InvalidGrantError
|  |- InvalidScopeError
|  |- InvalidTargetError
|  |- UnauthorizedClientError
|  |- InvalidClientError
|  |- InvalidDPoPProofError   a proof of possession is missing or invalid (RFC 9449)
|  |  `- UseDPoPNonceError
|  `- BearerError             a protected resource refuses an access token (RFC 6750)
|     |- InvalidTokenError
|     |  |- WrongAudienceError
|     |  |- MissingTokenError
|     |  `- BoundTokenError
|     |- InsufficientScopeError
|     `- InsufficientUserAuthenticationError
|- PageError                  an error page for the user
|- TryLaterError              the same request may succeed later: Retry-After
|  |- TooManyRequestsError
|  |- OverloadedError
|  `- NoSigningKeyError
|- DomainError                a service refuses a request
|  |- ValidationError
|  |- NotFoundError
|  |- ConflictError
|  |  `- VersionConflictError
|  `- PermissionDeniedError
|- ProofError                a token, passkey, code or password is invalid
|- RemoteError                another server does not respond, or its response is invalid
|- OperatorError              only the operator can fix it: a setting, a key, the database, a command
|- FlowError                  a sign-in flow or pending authorization request cannot continue
|  |- FlowExpiredError
|  |- FlowNotBoundError
|  `- FlowFinishedError
`- SessionEndedError          the session of the request ended before it changed anything

Every domain derives its own errors from one of the families, so that a boundary translates a family and never a single
class. The boundaries are :mod:`idp.http.exception_handlers` (protocol and pages), :mod:`idp.admin.api.problems`,
:mod:`idp.admin.console.screen` and :mod:`idp.cli.main`. The caller handles a ProofError or RemoteError; one that
reaches a boundary is a bug, as is any exception outside of this tree.

A description is one of our own sentences, never user input. That of an OAuthError stays inside the character set of
RFC 6749 section 5.2 (no double quote, no backslash, ASCII only).
"""

from http import HTTPStatus
from typing import Final, NamedTuple
from uuid import UUID

from idp.reasons import Reason


class IdpError(Exception):
    """The root of the tree.

    Attributes:
        code: the error in one word, for programs.
        description: one plain sentence, for people.
        status: the HTTP status.
        reason: why, for the operator only.
    """

    code: str | None = "server_error"
    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    reason: Reason | None = None

    def __init__(self, description: str = "") -> None:
        super().__init__(description)
        self.description = description


#: The reason of an error of the protocol that is raised without a more exact one, by its code.
BY_CODE: Final[dict[str, Reason]] = {
    "invalid_request": Reason.INVALID_REQUEST,
    "invalid_request_object": Reason.INVALID_REQUEST,
    "invalid_request_uri": Reason.INVALID_REQUEST,
    "invalid_user_code": Reason.INVALID_REQUEST,
    "invalid_binding_message": Reason.INVALID_REQUEST,
    "invalid_authorization_details": Reason.INVALID_REQUEST,
    "invalid_password": Reason.INVALID_INPUT,
    "invalid_client": Reason.UNKNOWN_CLIENT,
    "invalid_client_metadata": Reason.INVALID_METADATA,
    "invalid_redirect_uri": Reason.INVALID_METADATA,
    "invalid_software_statement": Reason.INVALID_METADATA,
    "unapproved_software_statement": Reason.INVALID_METADATA,
    "registration_not_supported": Reason.NOT_SUPPORTED,
    "unsupported_grant_type": Reason.NOT_SUPPORTED,
    "unsupported_response_type": Reason.NOT_SUPPORTED,
    "unsupported_token_type": Reason.NOT_SUPPORTED,
    "unauthorized_client": Reason.GRANT_NOT_ALLOWED,
    "invalid_scope": Reason.SCOPE_NOT_ALLOWED,
    "invalid_target": Reason.RESOURCE_NOT_ALLOWED,
    "invalid_token": Reason.MALFORMED,
    "invalid_dpop_proof": Reason.MALFORMED,
    "use_dpop_nonce": Reason.NONCE_NEEDED,
    "insufficient_scope": Reason.SCOPE_MISSING,
    "insufficient_user_authentication": Reason.ACR_TOO_LOW,
    "unmet_authentication_requirements": Reason.ACR_TOO_LOW,
    "login_required": Reason.SIGN_IN_NEEDED,
    "consent_required": Reason.CONSENT_NEEDED,
    "interaction_required": Reason.PAGE_NEEDED,
    "access_denied": Reason.DENIED_BY_USER,
    "authorization_pending": Reason.NOT_DECIDED_YET,
    "slow_down": Reason.POLLED_TOO_OFTEN,
    "too_many_requests": Reason.TOO_MANY_TRIES,
    "expired_token": Reason.EXPIRED,
    "expired_login_hint_token": Reason.EXPIRED,
    "unknown_user_id": Reason.UNKNOWN_USER,
    "invalid_session": Reason.FLOW_EXPIRED,
}


class Refused(NamedTuple):
    """Why a token or a code was refused, for the operator.

    Attributes:
        user_id, family_id: the user and the token family, if known.
    """

    reason: Reason
    user_id: UUID | None = None
    family_id: UUID | None = None


class OAuthError(IdpError):
    """An error response of the protocol.

    Attributes:
        code: from RFC 6749, OpenID Connect Core or the specification of the endpoint.
        status: the HTTP status if the error is not returned by redirect.
        hint: a sentence for the log only, which may say more than the response. By default the description.
        refused: why a token or a code was refused, for audit and log.
        reason: that of ``refused``; else the one of the code (:data:`BY_CODE`).
    """

    status: int = HTTPStatus.BAD_REQUEST

    def __init__(
        self,
        code: str,
        description: str,
        status: int = HTTPStatus.BAD_REQUEST,
        *,
        hint: str | None = None,
        refused: Refused | None = None,
    ) -> None:
        super().__init__(description)
        self.code: str = code
        self.status = status
        self.hint = hint or description
        self.refused = refused
        self.reason: Reason = refused.reason if refused else BY_CODE.get(code, Reason.INVALID_REQUEST)

    def __str__(self) -> str:
        return f"{self.code}: {self.description}"


class InvalidRequestError(OAuthError):
    """A parameter is missing, repeated or malformed (RFC 6749 sections 4.1.2.1 and 5.2).

    Also a subject or actor token that is not accepted (RFC 8693 section 2.2.2).
    """

    def __init__(self, description: str, *, hint: str | None = None, refused: Refused | None = None) -> None:
        super().__init__("invalid_request", description, hint=hint, refused=refused)


class InvalidGrantError(OAuthError):
    """The code or refresh token is not valid, or not for this client (RFC 6749 section 5.2)."""

    def __init__(self, description: str, refused: Refused) -> None:
        super().__init__("invalid_grant", description, refused=refused)
        self.refused: Refused = refused


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
        challenge: whether the client tried the Authorization header, so that the response must have WWW-Authenticate.
    """

    def __init__(
        self,
        description: str = "Client authentication failed.",
        *,
        challenge: bool = False,
        hint: str | None = None,
        refused: Refused | None = None,
    ) -> None:
        super().__init__("invalid_client", description, HTTPStatus.UNAUTHORIZED, hint=hint, refused=refused)
        self.challenge = challenge


class InvalidDPoPProofError(OAuthError):
    """The DPoP proof of a request is missing or invalid (RFC 9449 section 5). A protected resource answers with 401."""

    def __init__(
        self, description: str, reason: Reason | None = Reason.MALFORMED, *, code: str = "invalid_dpop_proof"
    ) -> None:
        super().__init__(code, description, refused=Refused(reason) if reason else None)


class UseDPoPNonceError(InvalidDPoPProofError):
    """The DPoP proof needs a nonce of this server, or a newer one (RFC 9449 sections 8 and 9).

    It is not ``refused``, so there is no audit event: a client begins without a nonce.

    Attributes:
        nonce: for the next proof.
    """

    def __init__(self, description: str, nonce: str) -> None:
        super().__init__(description, None, code="use_dpop_nonce")
        self.nonce = nonce


class BearerError(OAuthError):
    """A protected resource refuses an access token (RFC 6750 section 3.1)."""


class InvalidTokenError(BearerError):
    """The access token is expired, revoked, malformed or otherwise invalid."""

    def __init__(self, description: str = "The access token is not valid.", *, refused: Refused | None = None) -> None:
        super().__init__("invalid_token", description, HTTPStatus.UNAUTHORIZED, refused=refused)


class WrongAudienceError(InvalidTokenError):
    """The access token is for other resource servers."""

    def __init__(self, resource: str, user_id: UUID | None = None) -> None:
        super().__init__(
            f"The access token is not for {resource}. Request one with this resource.",
            refused=Refused(Reason.WRONG_AUDIENCE, user_id),
        )


class MissingTokenError(InvalidTokenError):
    """There is no access token. The challenge then names no error (RFC 6750 section 3.1)."""

    def __init__(self) -> None:
        super().__init__("There is no access token.")
        self.reason = Reason.TOKEN_MISSING


class BoundTokenError(InvalidTokenError):
    """The access token is bound to a key, and the request does not prove that the caller has it."""


class InsufficientScopeError(BearerError):
    """The access token does not have the scope that the resource requires."""

    def __init__(self, scope: str) -> None:
        super().__init__("insufficient_scope", f"The access token lacks the scope {scope}.", HTTPStatus.FORBIDDEN)
        self.scope = scope


class InsufficientUserAuthenticationError(BearerError):
    """The sign-in behind the access token was not strong enough (RFC 9470 section 3)."""

    def __init__(self, acr_values: str) -> None:
        super().__init__("insufficient_user_authentication", "A stronger sign-in is needed.", HTTPStatus.UNAUTHORIZED)
        self.acr_values = acr_values


class PageError(IdpError):
    """An error shown to the user as a page with links to continue.

    Attributes:
        title, message: plain words without jargon.
        code: the protocol's error code, if there is one.
        status: the HTTP status.
        hint: the cause, for the log, in English and in terms of the protocol. The page has it in development mode only.
        facts: labels and values for the developer of a client. Only the page has them, in development mode only.
        way_out: links to continue, as pairs of label and URL; the start page if empty.
        template: the name of the template.
    """

    def __init__(
        self,
        title: str,
        message: str,
        *,
        code: str | None = None,
        status: int = HTTPStatus.BAD_REQUEST,
        hint: str | None = None,
        reason: Reason | None = None,
        facts: tuple[tuple[str, str], ...] = (),
        way_out: tuple[tuple[str, str], ...] = (),
        template: str = "error.html",
    ) -> None:
        super().__init__(f"{title}: {message}")
        self.title = title
        self.message = message
        self.code = code
        self.status = status
        self.hint = hint
        self.reason = reason or BY_CODE.get(code or "")
        self.facts = facts
        self.way_out = way_out
        self.template = template


class TryLaterError(IdpError):
    """The same request may succeed later; answered with 503 and Retry-After.

    Attributes:
        retry_after: seconds after which to try again.
        reason: for the log; None: the class has none.
    """

    code = "temporarily_unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after: int = 5
    reason: Reason | None = None


class TooManyRequestsError(TryLaterError):
    """A rate limit is exceeded; answered with 429 and Retry-After (RFC 6585 section 4).

    Attributes:
        user_id: the account that was tried, if known, for the audit trail. The caller is not told.
    """

    reason = Reason.TOO_MANY_TRIES
    status = HTTPStatus.TOO_MANY_REQUESTS
    user_id: UUID | None = None

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"allowed again in {retry_after} s")
        self.retry_after = max(1, retry_after)


class OverloadedError(TryLaterError):
    """The queue of work is full."""

    reason = Reason.OVERLOADED
    retry_after = 2


class NoSigningKeyError(TryLaterError):
    """There is no active key of this algorithm."""

    reason = Reason.NO_SIGNING_KEY

    def __init__(self, alg: str) -> None:
        super().__init__(f"There is no active {alg} key. Create one with `idp keys generate`.")


class DomainError(IdpError):
    """A service refuses a request. The description is for the caller.

    Attributes:
        title: the title of the error page.
        field: the name of the invalid parameter or claim, if there is one.
    """

    code: str = "refused"
    status: int = HTTPStatus.CONFLICT
    title = "This cannot be done"
    field: str | None = None


class ValidationError(DomainError, ValueError):
    """A value is invalid.

    Also a ValueError, because msgspec and Pydantic convert only ValueErrors of a validator into their own errors.
    """

    code = "invalid_value"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class NotFoundError(DomainError):
    """There is no such record."""

    code = "not_found"
    status = HTTPStatus.NOT_FOUND
    title = "There is no such record"


class ConflictError(DomainError):
    """The record is not in the required state, or conflicts with another record."""

    code = "wrong_state"
    status = HTTPStatus.CONFLICT


class VersionConflictError(ConflictError):
    """The record has been changed since the caller read it."""

    code = "outdated"
    status = HTTPStatus.PRECONDITION_FAILED

    def __init__(self) -> None:
        super().__init__("It has been changed by another user. Reload it and try again.")


class PermissionDeniedError(DomainError):
    """The caller may not do this."""

    code = "forbidden"
    status = HTTPStatus.FORBIDDEN
    title = "You do not have access"


class ProofError(IdpError):
    """A token, passkey, code or password is invalid."""

    def __init__(self, description: str = "", reason: Reason | None = None) -> None:
        super().__init__(description)
        if reason is not None:
            self.reason = reason


class RemoteError(IdpError):
    """Another server does not respond, or its response is invalid."""


class OperatorError(IdpError):
    """Only the operator can fix it. The description says how."""


class FlowError(IdpError):
    """A sign-in flow or pending authorization request cannot continue.

    Attributes:
        return_to: the path to which the sign-in leads, if known.
        application: name and URL of the application that asked for it, if known.
        on_behalf: an application asked for the sign-in, whose request is at :attr:`return_to`.
    """

    code = "invalid_session"
    status = HTTPStatus.BAD_REQUEST

    def __init__(
        self,
        return_to: str | None = None,
        *,
        application: tuple[str, str] | None = None,
        on_behalf: bool = False,
    ) -> None:
        super().__init__("The auth_session is unknown, expired or finished.")
        self.return_to = return_to
        self.application = application
        self.on_behalf = on_behalf


class FlowExpiredError(FlowError):
    """The flow is unknown or expired, or its secret is wrong."""

    reason = Reason.FLOW_EXPIRED


class FlowNotBoundError(FlowError):
    """The flow is live, but this browser does not have its binding key.

    Attributes:
        sends_keys: the browser sent other keys, so it keeps cookies.
    """

    def __init__(self, *, sends_keys: bool) -> None:
        super().__init__()
        self.sends_keys = sends_keys
        self.reason = Reason.OTHER_BROWSER if sends_keys else Reason.COOKIE_MISSING


class FlowFinishedError(FlowError):
    """The flow is finished, or has advanced since it was read."""

    reason = Reason.FLOW_FINISHED


class SessionEndedError(IdpError):
    """The session of a request ended, or its sign-in became too old, before the request changed anything."""

    code = "invalid_request"
    status = HTTPStatus.FORBIDDEN
    reason = Reason.SESSION_ENDED
