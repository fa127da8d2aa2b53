"""Why a sign-in elsewhere led nowhere. Each is told to the person in plain words, and to the operator by an event."""

from idp.errors import RemoteError, ValidationError
from idp.reasons import Reason


class InvalidUpstreamError(ValidationError):
    """A provider cannot be configured like this: one plain sentence says why."""

    code = "invalid_upstream"


class UpstreamError(RemoteError):
    """The provider did not tell us who the person is."""

    reason = Reason.UPSTREAM_FAILED


class UpstreamUnavailableError(UpstreamError):
    """It did not answer, or not with what its protocol says."""

    reason = Reason.UPSTREAM_UNAVAILABLE


class UntrustedResponseError(UpstreamError):
    """What it answered is not signed, meant or dated as it must be."""

    reason = Reason.UPSTREAM_UNTRUSTED


class SignInCancelledError(UpstreamError):
    """The person did not go on there."""

    reason = Reason.UPSTREAM_CANCELLED


class AccessDeniedError(UpstreamError):
    """It sent the person back with an error, or would not redeem the code."""

    reason = Reason.UPSTREAM_REFUSED


class NotInAllowedOrganizationError(UpstreamError):
    """The person is not of those whom the operator lets in."""

    reason = Reason.WRONG_ORGANIZATION


class NotReauthenticatedError(UpstreamError):
    """The person was to sign in there anew, and did not."""

    reason = Reason.NOT_REAUTHENTICATED
