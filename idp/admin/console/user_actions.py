"""Actions on one user."""

from typing import Any
from uuid import UUID

from litestar import Response

from idp.accounts import profile, recovery, users
from idp.accounts.tables import User
from idp.admin.access import check_user
from idp.admin.console import actions, reports, user_attributes
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Field, facts, one
from idp.admin.console.screen import HOME, AdminRequest, not_found, redirect_with_notice, render, screen
from idp.admin.incidents import contain_user
from idp.admin.roles import Permission, Role, grant
from idp.infra.geoip import device
from idp.oauth import sign_out
from idp.oauth.credentials import credentials_changed
from idp.oauth.sign_out import sign_out_for_deletion
from idp.signin import limits
from idp.signin.factors import service as factors
from idp.signin.repository.sessions import SESSIONS


async def _allowed(request: AdminRequest, user_id: str) -> User:
    user = await user_attributes.user_by(user_id)
    await check_user(request.caller, user.id)
    return user


async def _disable(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await users.disable_user(user.id, credentials_changed)
    return f"/users/{user.id}", "disabled"


async def _enable(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await users.enable_user(user.id)
    return f"/users/{user.id}", "enabled"


async def _sign_out(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await sign_out.sign_out_everywhere(user.id, "signed_out_by_admin")
    return f"/users/{user.id}", "signed-out"


async def _reset_factors(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await factors.remove_all(user.id, credentials_changed)
    return f"/users/{user.id}", "reset"


async def _reset_password(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await recovery.send_reset_to_user(user)
    return f"/users/{user.id}", "mailed"


async def _contain(request: AdminRequest, user_id: str) -> Response[Any]:
    user = await _allowed(request, user_id)
    return reports.to_report(await contain_user(user.id))


async def _delete(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await profile.delete_user(user.id, sign_out_for_deletion)
    return "/users", "deleted"


async def _unlock(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await limits.unlock_user(user.id, user.email)
    return f"/users/{user.id}", "unlocked"


async def _named(user_id: str) -> dict[str, Any]:
    user = await user_attributes.user_by(user_id)
    return {"Email address": user.email, "Name": user.name, "Id (sub)": str(user.id)}


_WRITE = Permission.USERS_WRITE
actions.declare_actions(
    "users",
    "user_id",
    _named,
    [
        ConfirmedAction("disable", "Disable", "The user cannot sign in. Sessions and tokens end.", _WRITE, _disable),
        ConfirmedAction(
            "enable", "Enable", "The user can sign in again. Ended sessions stay ended.", _WRITE, _enable, danger=False
        ),
        ConfirmedAction(
            "unlock", "Allow attempts again",
            "Waits after failed passwords and codes end. An attacker can also try again at once.", _WRITE, _unlock,
            danger=False, fresh=False,
        ),
        ConfirmedAction(
            "sign_out", "Sign out everywhere", "All sessions end, and the tokens of every application are revoked.",
            Permission.SESSIONS_WRITE, _sign_out, fresh=False,
        ),
        ConfirmedAction(
            "reset_factors", "Reset second factors",
            "Authenticator app, passkeys and recovery codes are removed, and all sessions and tokens end. First"
            " verify the identity of the person who asks: after this, the password alone is enough.",
            _WRITE, _reset_factors,
        ),
        ConfirmedAction(
            "reset_password", "Send a password reset", "The user gets an email with a link to choose a new password.",
            _WRITE, _reset_password, danger=False, fresh=False,
        ),
        ConfirmedAction(
            "contain", "Contain",
            "For a compromised account. The account is disabled, and all sessions, tokens, consents and pending"
            " sign-ins end immediately. A report shows what stays usable.", _WRITE, _contain,
        ),
        ConfirmedAction(
            "delete", "Delete", "The account is deleted with all its data. This cannot be undone.", _WRITE, _delete,
            question="Delete {Email address}?", typed="Email address", allowed=_allowed,
        ),
    ],
)  # fmt: skip


@screen("GET", "/users/{user_id}/sessions/{sid}/end", Permission.SESSIONS_WRITE)
async def ask_to_end_session(request: AdminRequest) -> Response[str]:
    row = await one(SESSIONS, sid=request.params["sid"], user_id=request.params["user_id"])
    back = f"{HOME}/users/{row['user_id']}"
    named = await _named(str(row["user_id"])) | {"From": row["ip_address"], "Browser": device(row["user_agent"])}
    return render(
        request, "form", section="users", heading="End this session?", fields=[],
        subject=facts(named), danger=True, label="End session", back=back,
        intro="That browser is signed out, and the tokens issued in this session are revoked.",
        action=f"{back}/sessions/{request.params['sid']}/end",
    )  # fmt: skip


@screen("POST", "/users/{user_id}/sessions/{sid}/end", Permission.SESSIONS_WRITE)
async def end_session(request: AdminRequest) -> Response[Any]:
    user = await _allowed(request, request.params["user_id"])
    try:
        sid = UUID(request.params["sid"])
    except ValueError:
        raise not_found() from None
    await sign_out.end_session(user.id, sid, "signed_out_by_admin")
    return redirect_with_notice(f"/users/{user.id}", "ended")


@screen("GET", "/users/{user_id}/role", Permission.ADMINS_WRITE, fresh=True)
async def ask_for_role(request: AdminRequest) -> Response[str]:
    user = await user_attributes.user_of(request)
    choices = [(role.value, role.replace("_", " ")) for role in Role]
    return render(
        request, "form", section="users", heading=f"Make {user.email} an administrator", label="Give the role",
        subject=facts(await _named(str(user.id))),
        fields=[Field("role", "Role", Role.AUDITOR, "choice", choices=choices)],
        action=f"{HOME}/users/{user.id}/role", back=f"{HOME}/users/{user.id}",
    )  # fmt: skip


@screen("POST", "/users/{user_id}/role", Permission.ADMINS_WRITE, fresh=True)
async def give_role(request: AdminRequest) -> Response[Any]:
    user = await _allowed(request, request.params["user_id"])
    role = request.form.get("role", "")
    if role not in set(Role):
        raise not_found()
    await grant(user.id, Role(role), granted_by=request.caller.actor)
    return redirect_with_notice("/admins", "granted")
