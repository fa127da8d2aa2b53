"""The second step with a code of an authenticator app."""

from typing import Any

from idp.infra.i18n import gettext as _
from idp.reasons import Reason
from idp.signin import limits
from idp.signin.browser import Browser
from idp.signin.factors import totp
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
    """Use the code, once."""
    assert flow.user_id is not None  # noqa: S101
    if not await totp.verify(flow.user_id, entered):
        raise StepRefusedError(
            _("That code is wrong. Wait for the next one and try again."), flow.user_id, reason=Reason.WRONG_CODE
        )
    return VerifiedStep(flow.user_id, CompletedStep(Step.TOTP, ("otp",)))
