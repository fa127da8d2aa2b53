"""The second step with a recovery code, when no other factor is at hand."""

from typing import Any

from idp.accounts.repository.users import user_by_id
from idp.infra.i18n import gettext as _
from idp.mail import outbox
from idp.reasons import Reason
from idp.signin import limits
from idp.signin.browser import Browser
from idp.signin.factors import recovery_codes
from idp.signin.flow import Flow
from idp.signin.steps import Fields, StepRefusedError, VerifiedStep
from idp.signin.transitions import CompletedStep, Step


async def context(flow: Flow, _entered: Fields) -> dict[str, Any]:
    """Return no values."""
    return {}


async def verify(flow: Flow, fields: Fields, browser: Browser) -> str:
    """Count the attempt."""
    assert flow.user_id is not None  # noqa: S101 -- a first step comes before this one
    await limits.count_second_step(flow.user_id, browser)
    return fields.get("code", "")


async def complete(flow: Flow, entered: str) -> VerifiedStep:
    """Use the code, once, and mail its owner."""
    assert flow.user_id is not None  # noqa: S101
    if not await recovery_codes.consume(flow.user_id, entered):
        raise StepRefusedError(
            _("That recovery code is wrong or was already used."), flow.user_id, reason=Reason.WRONG_CODE
        )
    user = await user_by_id(flow.user_id)
    if user is not None:
        left = await recovery_codes.count_unused(flow.user_id)
        await outbox.queue(user.email, "recovery_code_used", language=user.locale, name=user.name, left=left)
    return VerifiedStep(flow.user_id, CompletedStep(Step.RECOVERY_CODE, ("otp",)))
