"""Withdraws the consent of a user to an application."""

from typing import Any

from litestar import Response

from idp.admin.access import check_user
from idp.admin.console import user_attributes
from idp.admin.console.components import facts
from idp.admin.console.screen import HOME, AdminRequest, not_found, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.oauth import consent
from idp.oauth.clients.path_ids import decoded, path_id
from idp.oauth.clients.repository import find_client

_PATH = "/users/{user_id}/consents/{application_id}/withdraw"


@screen("GET", _PATH, Permission.CONSENTS_WRITE)
async def ask_to_withdraw(request: AdminRequest) -> Response[str]:
    user = await user_attributes.user_by(request.params["user_id"])
    client = await find_client(decoded({"client_id": request.params["application_id"]})["client_id"])
    if client is None:
        raise not_found()
    back = f"{HOME}/users/{user.id}"
    shown = {
        "Application": client.client_name,
        "Client id": client.client_id,
        "Email address": user.email,
        "Name": user.name,
        "Id (sub)": str(user.id),
    }
    return render(
        request, "form", section="users", heading="Withdraw this consent?", subject=facts(shown), fields=[],
        intro="The application loses access to the account of the user: its tokens are revoked. At the next sign-in"
        " there it asks the user again. Access tokens that services validate offline work until they expire.",
        action=f"{back}/consents/{path_id(client.client_id)}/withdraw", label="Withdraw", danger=True, back=back,
    )  # fmt: skip


@screen("POST", _PATH, Permission.CONSENTS_WRITE)
async def withdraw(request: AdminRequest) -> Response[Any]:
    user = await user_attributes.user_by(request.params["user_id"])
    await check_user(request.caller, user.id)
    await consent.withdraw(user.id, decoded({"client_id": request.params["application_id"]})["client_id"])
    return redirect_with_notice(f"/users/{user.id}", "withdrawn")
