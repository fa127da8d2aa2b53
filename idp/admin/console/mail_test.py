"""The screen that sends a test mail."""

from typing import Any

from litestar import Response

from idp.accounts.addresses import mask_email, normalise_email
from idp.admin.console.components import Field
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.errors import TooManyRequestsError
from idp.mail import trial
from idp.mail.messages import compose

PATH = "/outbox/test"


def _form(request: AdminRequest, address: str, error: str | None = None) -> Response[str]:
    fields = [Field("email", "To", address, "email", "Yours, or another one.", required=True)]
    return render(
        request, "form", section="outbox", heading="Send a test email", fields=fields, action=f"{HOME}{PATH}",
        intro="It is sent at once, and the response of the SMTP server is shown.", label="Send",
        back=f"{HOME}/outbox", error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("GET", PATH, Permission.OUTBOX_WRITE)
async def ask(request: AdminRequest) -> Response[str]:
    return _form(request, request.user.email)


@screen("POST", PATH, Permission.OUTBOX_WRITE, fresh=True)
async def send(request: AdminRequest) -> Response[Any]:
    entered = request.form.get("email", "")
    try:
        address = normalise_email(entered)
        await trial.limit(address, request.caller.actor)
        await trial.send(compose(address, "test"), "test", mask_email(address))
    except (*FORM_ERRORS, trial.TrialFailedError, TooManyRequestsError) as error:
        return _form(request, entered, error.description)
    return redirect_with_notice("/outbox", "tested")
