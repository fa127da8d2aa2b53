"""The errors of sign-ins with upstreams: what the user is told, and what is recorded."""

from urllib.parse import urlsplit

import structlog

from idp.audit import unauthenticated_limit
from idp.audit.events import record
from idp.federation import errors
from idp.federation.errors import UpstreamError
from idp.federation.ldap.problems import AccountProblemError, Problem
from idp.federation.models import Upstream
from idp.infra.i18n import gettext as _
from idp.reasons import Reason
from idp.signin.steps import StepRefusedError
from idp.trace import recorder

log = structlog.get_logger()


def gone() -> StepRefusedError:
    """Return the error of a response from a provider that was disabled or deleted meanwhile."""
    return StepRefusedError(
        _("This way to sign in is no longer available. Choose another one."), reason=Reason.UPSTREAM_UNAVAILABLE
    )


async def record_failure(provider: Upstream, error: UpstreamError) -> None:
    """Log and record why an upstream sign-in failed: the reason, and the check that failed."""
    log.warning("upstream_failed", reason=error.reason, error=str(error), host=urlsplit(provider.issuer).hostname)
    recorder.step("upstream_failed", upstream=provider.id, reason=error.reason, check=str(error))
    recorder.refused(error.reason)
    detail = {"upstream": provider.id, "reason": error.reason, "check": str(error)}
    await record("upstream_failed", outcome="failure", detail=detail, limit_key=unauthenticated_limit.limit_key())


def failure_message(error: UpstreamError, name: str) -> str:
    """Return the message for the user."""
    match error:
        case errors.SignInCancelledError():
            return _("You did not sign in with %(upstream)s. Choose another way to continue.") % {"upstream": name}
        case errors.NotInAllowedOrganizationError():
            return _("Your account at %(upstream)s is not allowed to sign in here.") % {"upstream": name}
        case errors.NotReauthenticatedError():
            return _("%(upstream)s did not ask you to sign in again. Choose another way.") % {"upstream": name}
        case AccountProblemError(problem=Problem.PASSWORD_EXPIRED):
            return _("Your password at %(upstream)s has expired. Change it there, then sign in here.") % {
                "upstream": name
            }
        case AccountProblemError():
            return _("Your account at %(upstream)s cannot be used at the moment. Ask the people who run it.") % {
                "upstream": name
            }
        case errors.UpstreamUnavailableError():
            return _("%(upstream)s is not responding. Choose another way, or try again later.") % {"upstream": name}
        case errors.ForeignAddressError():
            return _("Only people with an address of their organisation can sign in with %(upstream)s.", upstream=name)
        case errors.AdministratorError():
            return _(
                "Administrators of this service cannot sign in with %(upstream)s. Choose another way.", upstream=name
            )
        case errors.OrganizationUnavailableError():
            return _("%(upstream)s is not available at the moment. Ask your organisation.", upstream=name)
    return _("Signing in with %(upstream)s did not work. Choose another way, or try again.") % {"upstream": name}
