"""Operations on mail templates, and test emails."""

from idp.accounts.addresses import mask_email, normalise_email
from idp.admin.api.models import mail_templates as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, listed, operation
from idp.admin.roles import Permission
from idp.infra.db.listing import find
from idp.mail import trial
from idp.mail.messages import compose
from idp.mail.templates import customization, sources
from idp.mail.templates.models import ALL, Source
from idp.mail.templates.repository import MAIL_TEMPLATES

_READ, _WRITE = Permission.MAIL_TEMPLATES_READ, Permission.MAIL_TEMPLATES_WRITE
_PATH = "/mail_templates"


_read = reader(models.MailTemplate)

listed(
    _PATH, _READ, "List the mail templates that replace shipped ones",
    listing=MAIL_TEMPLATES, read=_read, item=models.MailTemplate,
)  # fmt: skip


def _asked(call: Call) -> tuple[str, str]:
    """Return the name of the mail and the language."""
    name, _, language = call.params["template_id"].partition(".")
    customization.check_name(name, language or ALL)
    return name, language or ALL


@operation("GET", f"{_PATH}/{{template_id}}", _READ, "Show the template of a mail", content=models.MailTemplate)
async def show_template(call: Call) -> models.MailTemplate:
    name, language = _asked(call)
    row = await find(MAIL_TEMPLATES, id=f"{name}.{language}")
    if row is not None:
        found: models.MailTemplate = _read(row)
        return found
    shipped = sources.shipped(name, language)
    return models.MailTemplate(
        id=f"{name}.{language}", template=name, language=language,
        version=await customization.newest_version(name, language),
        subject=shipped.subject, html=shipped.html, text=shipped.text, created_at=None,
    )  # fmt: skip


@operation(
    "PUT", f"{_PATH}/{{template_id}}", _WRITE, "Set the template of a mail",
    body=models.NewMailTemplate, content=models.MailTemplate, current=show_template, max_body=customization.MAX_BODY,
)  # fmt: skip
async def set_template(call: Call) -> models.MailTemplate:
    name, language = _asked(call)
    source = Source(call.body.subject, call.body.html, call.body.text)
    await customization.set_template(name, language, source, expected=call.current.version)
    return await show_template(call)


@operation(
    "DELETE", f"{_PATH}/{{template_id}}", _WRITE, "Reset the template of a mail to the shipped one",
    current=show_template,
)  # fmt: skip
async def reset_template(call: Call) -> None:
    await customization.reset(*_asked(call), expected=call.current.version)


@operation(
    "POST", "/outbox/test", Permission.OUTBOX_WRITE, "Send a test email at once",
    body=models.TestMail, content=models.SentTestMail,
)  # fmt: skip
async def send_test(call: Call) -> models.SentTestMail:
    address = normalise_email(call.body.email)
    await trial.limit(address, call.caller.actor)
    try:
        response = await trial.send(compose(address, "test"), "test", mask_email(address))
        return models.SentTestMail(accepted=True, response=response)
    except trial.TrialFailedError as error:
        return models.SentTestMail(accepted=False, response=error.description)
