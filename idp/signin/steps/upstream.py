"""Signing in with an identity at an upstream provider. :mod:`idp.signin.upstream_accounts` finds its account here."""

from typing import Any
from uuid import UUID

import msgspec

from idp.accounts import email_proofs
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository.users import user_by_email
from idp.federation import authorization_requests, errors, linking, providers, realms, trust
from idp.federation.authorization_requests import StoredRequest
from idp.federation.errors import UpstreamError
from idp.federation.ldap.logins import normalise as directory_login
from idp.federation.linking import ExternalIdentity
from idp.federation.models import Upstream, UserInfo
from idp.federation.providers.base import LEEWAY
from idp.federation.registry import upstreams
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.mail import outbox
from idp.reasons import Reason
from idp.settings import settings
from idp.signin import enforcement, limits
from idp.signin import flow as flows
from idp.signin.browser import Browser
from idp.signin.flow import Flow
from idp.signin.mail_needed import require_mail
from idp.signin.steps import Fields, StepRefusedError, VerifiedStep
from idp.signin.steps.email_code import mail_link, proved_address, recipient
from idp.signin.transitions import Step
from idp.signin.upstream_accounts import resolve, trusted
from idp.signin.upstream_errors import failure_message, gone, record_failure


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
    # The address may be the hint of an application, as its user wrote it.
    email = flow.login_hint.strip().lower()
    if flow.display is None:
        return realms.offered(None, email)
    return realms.offered(flow.display.upstreams, email, flow.display.organization_named)


async def enter_address(flow: Flow, username: str, browser: Browser) -> list[Upstream]:
    """Store the address that the user entered, and return the upstreams of its organization that are offered now.

    Raises:
        StepRefusedError: it is not an address, or its domain is enforced and there is no such upstream.
        TooManyRequestsError: there were too many attempts.
    """
    await limits.count_step(browser)
    try:
        email = normalise_email(username)
    except InvalidEmailError as error:
        if directories(flow) and (name := directory_login(username)) is not None:
            await flows.store_address(flow, name)
            return []
        raise StepRefusedError(_("Enter your email address, such as name@example.com.")) from error
    flow = await flows.store_address(flow, email)
    owner = await realms.owner_of(email)
    if owner is None or (flow.ways and Step.UPSTREAM not in flow.ways):
        return []
    usable = [one for one in available(flow) if one.organization_id == owner.organization_id]
    if usable and not owner.organization_disabled:
        return usable
    await enforcement.check_address(email)
    return []


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
    if provider is None:
        raise gone()
    attempt = await authorization_requests.find(fields["state"], provider.id)
    expected = attempt is not None and (attempt.flow_id, attempt.session_id) == (flow_id, session_id)
    if attempt is None or not expected or not await authorization_requests.consume(attempt):
        raise StepRefusedError(
            _("This sign-in was already used, or took too long. Start again."), reason=Reason.EXPIRED
        )
    try:
        person = await providers.KINDS[provider.kind].identify(provider, attempt.request, dict(fields))
        _check_fresh(attempt, person)
    except UpstreamError as error:
        await record_failure(provider, error)
        raise StepRefusedError(failure_message(error, provider.name), reason=error.reason) from error
    return linking.external_identity(provider, person)


def _check_fresh(attempt: StoredRequest, person: UserInfo) -> None:
    if attempt.auth_after is None:
        return
    if person.auth_time is None or person.auth_time < attempt.auth_after.timestamp() - LEEWAY:
        raise errors.NotReauthenticatedError("The user did not reauthenticate at the provider.")


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


async def _send(flow: Flow, username: str, browser: Browser) -> None:
    email = await recipient(username, browser)
    require_mail()
    if flow.identity is not None:
        await enforcement.check_address(email, by=flow.identity.organization_id)
        await trusted(flow.identity, trust.check_address(flow.identity, email))
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
