"""Inviting people into an organization, several at once."""

import re
from collections.abc import Mapping
from typing import Any, Final

from litestar import Response

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.directory import invitations
from idp.directory.errors import UnknownRoleError
from idp.errors import ConflictError, TooManyRequestsError
from idp.infra.i18n import gettext as _
from idp.infra.i18n import ngettext
from idp.selfservice.organization.components import Field, form
from idp.selfservice.organization.invitations import SECTION, role_names
from idp.selfservice.organization.page import Visit, done, page, reason

#: Addresses of one form.
MAX_AT_ONCE: Final = 20


async def _form(visit: Visit, error: str | None = None, problems: Mapping[str, str] | None = None) -> Response[Any]:
    """Render the form.

    Args:
        problems: addresses that were not invited, with the reasons. The form keeps them.
    """
    names, entered = await role_names(visit), visit.form
    fields = [
        Field(
            "emails", _("Email addresses"), "\n".join(problems) if problems else entered.get("emails", ""), "lines",
            hint=_(
                "Up to %(number)s, each on its own"
                " line."
            , number=MAX_AT_ONCE), ltr=True, max_length=MAX_AT_ONCE * 330,
        ),
        *(
            Field(f"role_{key}", name, entered.get(f"role_{key}", ""), "check", group=_("Roles for the new members"))
            for key, name in names.items()
        ),
        Field(
            "admin", _("Manages the organisation"), entered.get("admin", ""), "check",
            hint=_("They can change everything that you can change here, and can remove you as a manager."),
        ),
    ]  # fmt: skip
    return form(
        visit, SECTION, heading=_("Invite people"), fields=fields, label=_("Send invitations"), back="/invitations",
        intro=_(
            "Each person gets an email with a link. They do not need an account yet."
        ), error=error, problems=problems,
    )  # fmt: skip


@page("GET", "/invitations/add", fresh=True)
async def ask_whom_to_invite(visit: Visit) -> Response[Any]:
    return await _form(visit)


@page("POST", "/invitations/add", fresh=True)
async def invite(visit: Visit) -> Response[Any]:
    entered = list(dict.fromkeys(re.split(r"[\s,;]+", visit.form.get("emails", "").strip())))
    if not 1 <= len(entered) <= MAX_AT_ONCE:
        return await _form(visit, _("Enter up to %(number)s addresses at once.", number=MAX_AT_ONCE))
    if wrong := [each for each in entered if not _is_valid(each)]:
        sentence_of = reason(InvalidEmailError(""))
        return await _form(visit, f"{sentence_of} {_('Nothing was sent yet.')} {', '.join(wrong)}"[:1000])
    chosen = [key for key in await role_names(visit) if f"role_{key}" in visit.form]
    problems: dict[str, str] = {}
    for email in entered:
        try:
            await invitations.invite(
                visit.organization.id, email, role_ids=chosen, admin="admin" in visit.form, invited_by=visit.user_id
            )
        except (ConflictError, UnknownRoleError, TooManyRequestsError) as error:
            problems[email] = reason(error)
    if problems:
        return await _form(visit, _summary(len(entered) - len(problems)), problems)
    return done(visit, "/invitations", "invited")


def _is_valid(email: str) -> bool:
    try:
        normalise_email(email)
    except InvalidEmailError:
        return False
    return True


def _summary(sent: int) -> str:
    if not sent:
        return _("No invitation was sent.")
    return ngettext(
        "%(count)s invitation was sent. The addresses below were not invited.",
        "%(count)s invitations were sent. The addresses below were not invited.",
        sent,
    )  # fmt: skip
