"""Why a sign-in elsewhere led nowhere. Each is told to the person in plain words, and to the operator by an event."""


class InvalidUpstreamError(ValueError):
    """A provider cannot be configured like this: one plain sentence says why."""


class UpstreamError(Exception):
    """The provider did not tell us who the person is. ``reason`` is one word for events and logs."""

    reason = "failed"


class UpstreamUnavailableError(UpstreamError):
    """It did not answer, or not with what its protocol says."""

    reason = "unavailable"


class UntrustedResponseError(UpstreamError):
    """What it answered is not signed, meant or dated as it must be."""

    reason = "untrusted"


class SignInCancelledError(UpstreamError):
    """The person did not go on there."""

    reason = "cancelled"


class AccessDeniedError(UpstreamError):
    """It sent the person back with an error, or would not redeem the code."""

    reason = "refused"


class NotInAllowedOrganizationError(UpstreamError):
    """The person is not of those whom the operator lets in."""

    reason = "outside"


class NotReauthenticatedError(UpstreamError):
    """The person was to sign in there anew, and did not."""

    reason = "not_anew"
