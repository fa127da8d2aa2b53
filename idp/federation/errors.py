"""Errors of sign-ins with providers. Pages show a sentence for each; the audit event has its reason."""

from idp.errors import RemoteError, ValidationError
from idp.infra import outbound
from idp.reasons import Reason

#: What a response that violates the protocol raises in Authlib's client, besides Authlib's own errors, or in what reads
#: it. Authlib decodes JSON itself: a RecursionError comes from a value that is nested too deeply.
MALFORMED = (outbound.CallFailed, ValueError, TypeError, KeyError, AttributeError, RecursionError)


class InvalidUpstreamError(ValidationError):
    """The configuration of a provider is not valid. The message is one sentence."""

    code = "invalid_upstream"


class UpstreamError(RemoteError):
    """The provider did not identify the user."""

    reason = Reason.UPSTREAM_FAILED


class UpstreamUnavailableError(UpstreamError):
    """The provider did not respond, or its response violates the protocol."""

    reason = Reason.UPSTREAM_UNAVAILABLE


class UntrustedResponseError(UpstreamError):
    """The response has a wrong signature, audience, issuer, nonce or time."""

    reason = Reason.UPSTREAM_UNTRUSTED


class SignInCancelledError(UpstreamError):
    """The user cancelled the sign-in at the provider."""

    reason = Reason.UPSTREAM_CANCELLED


class AccessDeniedError(UpstreamError):
    """The provider returned an error, or rejected the code."""

    reason = Reason.UPSTREAM_REFUSED


class NotInAllowedOrganizationError(UpstreamError):
    """The user does not have the required claims or organisation."""

    reason = Reason.WRONG_ORGANIZATION


class NotReauthenticatedError(UpstreamError):
    """The user had to reauthenticate at the provider and did not."""

    reason = Reason.NOT_REAUTHENTICATED


class ForeignAddressError(UpstreamError):
    """The upstream of an organization does not speak for this address."""

    reason = Reason.FOREIGN_ADDRESS


class AdministratorError(UpstreamError):
    """The upstream of an organization does not sign in administrators of the server."""

    reason = Reason.UPSTREAM_REFUSED


class OrganizationUnavailableError(UpstreamError):
    """The organization of the upstream, or the upstream, was deleted or disabled."""

    reason = Reason.ORGANIZATION_UNAVAILABLE
