"""Creating an account, as a way to sign in.

The user first enters their data, and then the code from the mail that proves their address.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts import email_proofs, invitations, profile
from idp.accounts import registration as accounts
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.attributes import forms, service
from idp.accounts.attributes.errors import InvalidValueError, NotEditableError
from idp.accounts.attributes.models import Attribute, Audience
from idp.accounts.attributes.registry import attributes as registry
from idp.accounts.email_proofs import Purpose
from idp.accounts.passwords import InvalidPasswordError, check_new_password, hash_password
from idp.accounts.users import MAX_NAME_LENGTH
from idp.federation import linking
from idp.infra.i18n import gettext as _
from idp.reasons import Reason
from idp.signin import enforcement, invitation, limits
from idp.signin import flow as flows
from idp.signin.browser import Browser
from idp.signin.factors.repository import delete_factors
from idp.signin.flow import Flow, Registration
from idp.signin.steps import Fields, StepRefusedError, VerifiedStep
from idp.signin.steps.email_code import mail_link, proved_address, wrong_code
from idp.signin.transitions import CompletedStep, Step

DONE = CompletedStep(Step.REGISTRATION, ("otp",))


async def context(flow: Flow, entered: Fields) -> dict[str, Any]:
    """Return the data that was entered, or the address to which a code was sent."""
    kept = flow.registration or Registration()
    sent_to = await email_proofs.pending_email(Purpose.REGISTRATION, flow.binding.id) if kept.password_hash else None
    asked = registry.asked_at_registration()
    fields = forms.fields(asked, kept.attributes, entered or None, _required(asked))
    return {"registration": kept, "sent_to": sent_to, "attributes": fields}


def _required(asked: Iterable[Attribute]) -> list[str]:
    return [one.name for one in asked if one.registration == "required"]


async def verify(flow: Flow, fields: Fields, browser: Browser) -> Registration | Fields:
    """Check and hash the data of a new account, or return the fields of another request unchanged."""
    kept = flow.registration or Registration()
    if kept.password_hash and not fields.get("password"):
        if fields.get("action") == "send":
            await limits.count_mail(kept.email, browser)
        else:
            await limits.count_step(browser)
        return fields
    await limits.count_step(browser)
    try:
        email = normalise_email(fields.get("username", ""))
    except InvalidEmailError as error:
        raise StepRefusedError(_("Enter your email address, such as name@example.com.")) from error
    if kept.invited_email and email != kept.invited_email:
        raise StepRefusedError(_("This invitation is for another address."))
    await enforcement.check_address(email)
    name = " ".join(fields.get("name", "")[: 4 * MAX_NAME_LENGTH].split()) or None
    if name is not None and profile.FIELDS["name"](name) is None:
        raise StepRefusedError(_("The value is too long, or contains characters that cannot be shown."))
    attributes = _attributes(fields)
    password = fields.get("password", "")
    try:
        await check_new_password(password, user_inputs=[email, name or ""])
        password_hash = await hash_password(password)
    except InvalidPasswordError as error:
        raise StepRefusedError(str(error)) from error
    if email != kept.invited_email:
        await limits.count_mail(email, browser)
    return msgspec.structs.replace(kept, email=email, password_hash=password_hash, name=name, attributes=attributes)


def _attributes(fields: Fields) -> dict[str, Any]:
    """Return the entered values of attributes, which are stored once the account exists."""
    asked = registry.asked_at_registration()
    try:
        return service.check_entered(asked, forms.entered(asked, fields), _required(asked))
    except InvalidValueError as error:
        raise StepRefusedError(forms.sentence(asked, error), field=forms.field_name(error.field)) from error


async def complete(flow: Flow, entered: Registration | Fields) -> VerifiedStep | None:
    """Store the entered data and mail a code, or use the code.

    Each mail raises the flow's turn in its transaction. So a valid code belongs to the data of the flow at this turn,
    and the statement that notes the step changes nothing if another request stored other data.
    """
    if isinstance(entered, Registration):
        if entered.organization_invitation_id is not None:
            return await _create_member(entered)
        if entered.invitation_id is not None:
            return await _create_invited(entered, entered.invitation_id)
        await _mail(await flows.store_registration(flow, entered), entered)
        return None
    kept = flow.registration
    if kept is None:
        raise wrong_code()
    match entered.get("action"):
        case "send":
            await _mail(await flows.store_registration(flow, kept), kept)
            return None
        case "restart":
            await flows.store_registration(flow, msgspec.structs.replace(kept, password_hash=""))
            return None
    proved = await proved_address(Purpose.REGISTRATION, flow, entered)
    return await _create(proved.email, kept)


async def _mail(flow: Flow, kept: Registration) -> None:
    await accounts.send_proof(kept.email, flow.binding.id, mail_link(flow, Step.REGISTRATION, ""))


async def _create_invited(kept: Registration, invitation_id: UUID) -> VerifiedStep:
    email = await invitations.consume(invitation_id)
    if email is None:
        raise _ended()
    return await _create(email, kept)


async def _create_member(kept: Registration) -> VerifiedStep:
    """Create the account of a person who is invited into an organization, and accept the invitation."""
    held = await invitation.hold(kept, kept.email)
    if held is None:
        raise _ended()
    created = await _create(held.email, kept)
    await invitation.accept(kept, held, created.user_id)
    return created


def _ended() -> StepRefusedError:
    return StepRefusedError(
        _("This invitation was already used or has expired. Ask for a new one."), reason=Reason.WRONG_CODE
    )


async def _create(email: str, kept: Registration) -> VerifiedStep:
    """Create the account of an address that was proved by the code or by the invitation."""
    if email != kept.email:
        raise wrong_code()
    await linking.release_email(email, delete_factors)
    user_id = await accounts.create_account(email, kept.password_hash, kept.name, invited=kept.invited)
    if user_id is None:
        raise StepRefusedError(_("There is already an account with this address. Sign in to it."))
    # The declarations may have changed since the values were entered. Then the account begins without them.
    with suppress(InvalidValueError, NotEditableError):
        await service.change(user_id, kept.attributes, Audience.PERSON)
    return VerifiedStep(user_id, DONE)
