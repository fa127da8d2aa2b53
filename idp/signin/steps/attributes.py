"""Entering attributes that the application requires, after the identity is proved."""

from typing import Any
from uuid import UUID

from idp.accounts.attributes import forms, service
from idp.accounts.attributes.errors import InvalidValueError, NotEditableError
from idp.accounts.attributes.models import Attribute, Audience
from idp.infra.i18n import gettext as _
from idp.signin import limits
from idp.signin.browser import Browser
from idp.signin.flow import Flow
from idp.signin.steps import Fields, StepRefusedError, VerifiedStep
from idp.signin.transitions import CompletedStep, Step


async def missing(flow: Flow, user_id: UUID) -> list[Attribute]:
    """Return the attributes that the application requires and the user does not have, in the order of pages."""
    return await service.missing(user_id, flow.attributes)


async def context(flow: Flow, entered: Fields) -> dict[str, Any]:
    """Return the fields."""
    assert flow.user_id is not None  # noqa: S101 -- a first step comes before this one
    asked = await missing(flow, flow.user_id)
    return {"attributes": forms.fields(asked, {}, entered or None, [one.name for one in asked])}


async def verify(flow: Flow, fields: Fields, browser: Browser) -> Fields:
    """Count the attempt."""
    await limits.count_step(browser)
    return fields


async def complete(flow: Flow, entered: Fields) -> VerifiedStep:
    """Store the values. All of them are needed."""
    assert flow.user_id is not None  # noqa: S101
    asked = await missing(flow, flow.user_id)
    names = [one.name for one in asked]
    try:
        await service.change(flow.user_id, forms.entered(asked, entered), Audience.PERSON, required=names)
    except InvalidValueError as error:
        field = forms.field_name(error.field)
        raise StepRefusedError(forms.sentence(asked, error), flow.user_id, field=field) from error
    except NotEditableError as error:
        raise StepRefusedError(_("This field can no longer be changed. Try again."), flow.user_id) from error
    return VerifiedStep(flow.user_id, CompletedStep(Step.ATTRIBUTES))
