"""Signing in with an identity at an upstream provider, and finding its account here.

Issuer and subject alone identify the account. For an identity that is not linked yet, the user proves an address, or
signs in to the account that already has the address.
"""

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import structlog

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository.users import confirm_email, owner_of_email, user_by_email, user_by_id
from idp.audit import unauthenticated_limit
from idp.audit.events import record
from idp.federation import authorization_requests, errors, linking, providers, provisioning
from idp.federation.authorization_requests import StoredRequest
from idp.federation.errors import UpstreamError
from idp.federation.ldap.problems import AccountProblemError, Problem
from idp.federation.linking import ExternalIdentity
from idp.federation.models import Upstream, UserInfo
from idp.federation.providers.base import LEEWAY
from idp.federation.registry import upstreams
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.mail import outbox
from idp.reasons import Reason
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import invitation, limits
from idp.signin.browser import Browser
from idp.signin.factors.repository import delete_factors
from idp.signin.flow import Flow
from idp.signin.steps import Fields, StepRefusedError, VerifiedStep
from idp.signin.steps.email_code import mail_link, proved_address, recipient
from idp.signin.transitions import FEDERATED, CompletedStep, Step

log = structlog.get_logger()


def available(flow: Flow) -> list[Upstream]:
    """Return the providers that the page offers."""
    return [one for one in _allowed(flow) if one not in not_fresh(flow)]


def not_fresh(flow: Flow) -> list[Upstream]:
    """Return the providers left out because a recent sign-in is required, and they do not report its time."""
    return [one for one in _allowed(flow) if flow.max_age is not None and not providers.reauthenticates(one)]


def directories(flow: Flow) -> list[Upstream]:
    """Return the directories whose passwords users enter here."""
    return upstreams.directories(flow.display.upstreams if flow.display else None)


def _allowed(flow: Flow) -> list[Upstream]:
    return upstreams.offered(flow.display.upstreams if flow.display else None)


async def context(flow: Flow, _entered: Fields) -> dict[str, Any]:
    """Return the identity from a provider, if there is one, and the address that is to be proved."""
    sent_to = await email_proofs.pending_email(Purpose.UPSTREAM, flow.binding.id) if flow.identity else None
    return {"identity": flow.identity, "sent_to": sent_to}


async def verify(flow: Flow, fields: Fields, browser: Browser) -> ExternalIdentity | Fields:
    """Return the identity from the provider's response. If a mail was requested, send it and return the fields."""
    if fields.get("action") == "send" and "state" not in fields and flow.identity is not None:
        sent_to = await email_proofs.pending_email(Purpose.UPSTREAM, flow.binding.id)
        await _send(flow, fields.get("username") or sent_to or "", browser)
        return fields
    await limits.count_step(browser)
    if "state" in fields:
        return await identify(fields, flow_id=flow.binding.id)
    if flow.identity is None:
        raise StepRefusedError(_("Choose where you want to sign in."))
    return fields


async def identify(fields: Fields, *, flow_id: str | None = None, session_id: UUID | None = None) -> ExternalIdentity:
    """Return the identity in the response of a provider. A response is accepted once.

    Args:
        flow_id, session_id: the sign-in flow or the session that started the request.

    Raises:
        StepRefusedError: the response is not accepted.
    """
    provider = upstreams.get(fields.get("upstream", ""))
    attempt = await authorization_requests.find(fields["state"], provider.id) if provider else None
    expected = attempt is not None and (attempt.flow_id, attempt.session_id) == (flow_id, session_id)
    if provider is None or attempt is None or not expected or not await authorization_requests.consume(attempt):
        raise StepRefusedError(
            _("This sign-in was used already, or took too long. Start again."), reason=Reason.EXPIRED
        )
    try:
        person = await providers.KINDS[provider.kind].identify(provider, attempt.request, dict(fields))
        _check_fresh(attempt, person)
    except UpstreamError as error:
        await record_failure(provider, error)
        raise StepRefusedError(failure_message(error, provider.name), reason=error.reason) from error
    return linking.external_identity(provider.id, person, keep_tokens=provider.keep_tokens)


async def record_failure(provider: Upstream, error: UpstreamError) -> None:
    """Log and record why an upstream sign-in failed: the reason, and the check that failed."""
    log.warning("upstream_failed", reason=error.reason, error=str(error), host=urlsplit(provider.issuer).hostname)
    detail = {"upstream": provider.id, "reason": error.reason, "check": str(error)}
    await record("upstream_failed", outcome="failure", detail=detail, limit_key=unauthenticated_limit.limit_key())


def _check_fresh(attempt: StoredRequest, person: UserInfo) -> None:
    if attempt.auth_after is None:
        return
    if person.auth_time is None or person.auth_time < attempt.auth_after.timestamp() - LEEWAY:
        raise errors.NotReauthenticatedError("The user did not reauthenticate at the provider.")


def failure_message(error: UpstreamError, name: str) -> str:
    """Return the message for the user."""
    match error:
        case errors.SignInCancelledError():
            return _("You did not sign in with %(upstream)s. Choose how to go on.") % {"upstream": name}
        case errors.NotInAllowedOrganizationError():
            return _("Your account at %(upstream)s is not one of those that may sign in here.") % {"upstream": name}
        case errors.NotReauthenticatedError():
            return _("%(upstream)s did not ask you to sign in again. Choose another way.") % {"upstream": name}
        case AccountProblemError(problem=Problem.PASSWORD_EXPIRED):
            return _("Your password at %(upstream)s has expired. Change it there, then sign in here.") % {
                "upstream": name
            }
        case AccountProblemError():
            return _("Your account at %(upstream)s cannot be used at the moment. Ask those who run it.") % {
                "upstream": name
            }
        case errors.UpstreamUnavailableError():
            return _("%(upstream)s does not answer at the moment. Choose another way, or try again later.") % {
                "upstream": name
            }
    return _("Signing in with %(upstream)s did not work. Choose another way, or try again.") % {"upstream": name}


async def complete(flow: Flow, entered: ExternalIdentity | Fields) -> VerifiedStep | None:
    """Find or create the account, or store the identity until the user has proved more."""
    if isinstance(entered, ExternalIdentity):
        return await resolve(flow, entered, mailed=False)
    if entered.get("action") == "send" or flow.identity is None:
        return None
    proved = await proved_address(Purpose.UPSTREAM, flow, entered)
    return await resolve(
        flow, msgspec.structs.replace(flow.identity, email=proved.email, email_verified=True), mailed=True
    )


async def resolve(
    flow: Flow, identity: ExternalIdentity, *, mailed: bool, step: CompletedStep | None = None
) -> VerifiedStep | None:
    """Return the account of an identity.

    Args:
        step: the step that proved it. None: a sign-in at the upstream.
        mailed: the address was proved by our own mail, for example by an email code.

    Returns:
        None if more must be proved; the identity is stored until then.
    """
    methods = (FEDERATED, "mfa") if identity.two_factors else (FEDERATED,)
    done = step or CompletedStep(Step.UPSTREAM, methods, identity.auth_time)
    try:
        user_id = await linking.find_user(identity, lock=flow.user_id is None)
    except linking.AccountDisabledError as error:
        raise StepRefusedError(
            _("There is no account for you here. Ask those who run this service for one."), reason=error.reason
        ) from error
    if user_id is not None:
        if flow.user_id in (None, user_id):
            await provisioning.apply(user_id, identity)
        return VerifiedStep(user_id, done, user_locked=True, upstream=identity.session)
    if identity.email is None or not identity.email_verified:
        await flows.store_identity(flow, identity)
        return None
    if (owner := await owner_of_email(identity.email)) is not None:
        flow = await flows.store_identity(flow, identity)
        by_mail = mailed and settings().email_code_sign_in and await confirm_email(owner, identity.email)
        return VerifiedStep(owner, CompletedStep(Step.EMAIL_CODE, ("otp",)), flow=flow) if by_mail else None
    provider = upstreams.get(identity.upstream_id)
    allowed = provider.creates_accounts if provider else None
    held = await invitation.hold(flow.registration, identity.email)
    if held is None and not (settings().registration == "open" if allowed is None else allowed):
        raise StepRefusedError(
            _("There is no account for you here. Ask those who run this service for one."), reason=Reason.UNKNOWN_USER
        )
    await linking.release_email(identity.email, delete_factors)
    user_id = await linking.create_user(identity)
    if user_id is None:
        raise StepRefusedError(_("There is already an account with this address. Sign in with it."))
    await provisioning.apply(user_id, identity)
    await invitation.accept(flow.registration, held, user_id)
    return VerifiedStep(user_id, done, upstream=identity.session)


async def link_identity(flow: Flow, user_id: UUID) -> None:
    """Link the identity of a flow to the account that signed in, if its address is the one that was proved.

    Runs in the transaction that finishes the sign-in.
    """
    identity = flow.identity
    if identity is None or not identity.email_verified or any(done.step is Step.UPSTREAM for done in flow.done):
        return
    user = await user_by_id(user_id)
    if user is not None and user.email == identity.email and await linking.link(user_id, identity):
        provider = upstreams.get(identity.upstream_id)
        await linking.notify(user_id, "identity_linked", provider.name if provider else identity.upstream_id)
        await provisioning.apply(user_id, identity)


async def _send(flow: Flow, username: str, browser: Browser) -> None:
    email = await recipient(username, browser)
    lifetime, owner = settings().email_code_lifetime, await user_by_email(email)
    async with transaction():
        sent = await email_proofs.create(
            Purpose.UPSTREAM, email, lifetime=lifetime, flow_id=flow.binding.id, user_id=owner.id if owner else None
        )
        await outbox.queue(
            email,
            "verify_email",
            lifetime=lifetime,
            code=sent.code,
            link=mail_link(flow, Step.UPSTREAM, sent.token),
            minutes=lifetime // 60,
        )
