"""The sign-in policy of an organization."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response

from idp.directory import sign_in_policy_changes as service
from idp.directory.lockouts import LockoutError
from idp.directory.sign_in_policy import WAYS, SignInPolicy
from idp.errors import ConflictError, DomainError, ValidationError
from idp.infra.i18n import duration
from idp.infra.i18n import gettext as _
from idp.selfservice.organization.components import Field, form
from idp.selfservice.organization.page import Visit, done, page
from idp.settings import DAY, HOUR, MINUTE

SECTION = "policy"
#: The lengths that are offered, in seconds. Another one that is set is offered too.
LENGTHS: Final[Mapping[str, tuple[int, ...]]] = {
    "session_max_age": (15 * MINUTE, HOUR, 4 * HOUR, 8 * HOUR, 12 * HOUR, DAY, 7 * DAY, 30 * DAY),
    "session_idle": (5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 4 * HOUR, DAY, 7 * DAY),
}


def _length(policy: SignInPolicy, entered: Mapping[str, str], name: str, label: str, hint: str) -> Field:
    now: int | None = getattr(policy, name)
    offered = sorted({*LENGTHS[name], *([] if now is None else [now])})
    choices = [("", _("any")), *((str(each), duration(each)) for each in offered)]
    return Field(name, label, entered.get(name, ""), "choice", hint, choices)


async def _form(visit: Visit, error: DomainError | str | None = None) -> Response[Any]:
    policy = await service.policy_of(visit.organization.id)
    entered = visit.form or {
        **{name: str(getattr(policy, name) or "") for name in LENGTHS},
        **dict.fromkeys(policy.ways, "on"),
        "second_factor": "on" if policy.second_factor else "",
    }
    ways = {
        "password": (_("Password"), ""),
        "passkey": (
            _("Passkey"),
            _("If this is the only choice, members without a passkey create one when they sign in."),
        ),
        "email_code": (_("Code by email"), ""),
        "upstream": (_("Another provider"), _("For example, the one of your organisation.")),
    }
    fields = [
        Field(
            "second_factor", _("Require a second factor"), entered.get("second_factor", ""), "check",
            _("Members without one set it up when they sign in."),
        ),
        _length(
            policy, entered, "session_max_age", _("Longest session"),
            _("After that, members sign in again."),
        ),
        _length(
            policy, entered, "session_idle", _("Longest pause"),
            _("Members who were away for longer sign in again."),
        ),
        *(
            Field(name, label, entered.get(name, ""), "check", hint, group=_("Ways to sign in (none chosen: all)"))
            for name, (label, hint) in ways.items()
        ),
    ]  # fmt: skip
    if isinstance(error, LockoutError):
        fields.append(Field("accept_lockout", _("Save anyway"), "", "check"))
    return form(
        visit, SECTION, heading=_("Sign-in policy"), fields=fields, label=_("Save"), back="", error=error,
        intro=_(
            "What members need to sign in for the organisation, whatever the application asks for. This applies"
            " from the"
            " next sign-in. These pages and the accounts of members are not affected, so you can change it back here."
        ),
        version=visit.form.get("version") or visit.organization.updated_at.isoformat(),
    )  # fmt: skip


@page("GET", "/policy")
async def policy_form(visit: Visit) -> Response[Any]:
    return await _form(visit)


@page("POST", "/policy", fresh=True)
async def save_policy(visit: Visit) -> Response[Any]:
    entered, organization = visit.form, visit.organization
    if entered.get("version") != organization.updated_at.isoformat():
        return await _form(visit, _("It has been changed in the meantime. Check it again."))
    try:
        await service.set_policy(
            organization.id,
            organization.updated_at,
            amr=visit.account.session.amr,
            accept_lockout="accept_lockout" in entered,
            second_factor="second_factor" in entered,
            ways=[name for name in WAYS if name in entered],
            session_max_age=_seconds(entered.get("session_max_age", "")),
            session_idle=_seconds(entered.get("session_idle", "")),
        )
    except (ValidationError, ConflictError) as error:
        return await _form(visit, error)
    return done(visit, "/policy", "saved")


def _seconds(chosen: str) -> int | None:
    """Return a length that was chosen. One that is not offered is refused by the service."""
    if not chosen:
        return None
    return int(chosen) if chosen.isascii() and chosen.isdigit() and len(chosen) < 10 else 0
