"""The actions on a client, each with its confirmation page."""

from typing import Any

from litestar import Response

from idp import clock
from idp.admin.console import actions, reports
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.client_paths import allowed_client, named_client, path_of
from idp.admin.console.once import show_once
from idp.admin.console.screen import AdminRequest
from idp.admin.incidents import contain_client
from idp.admin.roles import Permission
from idp.oauth.clients import logos, registration, service
from idp.oauth.clients.dynamic import service as dynamic


async def _rotate(request: AdminRequest, client_id: str) -> Response[bytes]:
    secret = await registration.rotate_secret(await allowed_client(request, client_id))
    return show_once(request, path_of(client_id), secret)


async def _rotate_registration_token(request: AdminRequest, client_id: str) -> Response[bytes]:
    token = await dynamic.rotate_token(await allowed_client(request, client_id))
    return show_once(request, path_of(client_id), token)


async def _end_previous_secret(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await registration.end_previous_secret(await allowed_client(request, client_id))
    return path_of(client_id), "secret-ended"


async def _remove_logo(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await logos.remove_logo(await allowed_client(request, client_id))
    return path_of(client_id), "saved"


async def _disable(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await registration.disable_client(await allowed_client(request, client_id))
    return path_of(client_id), "disabled"


async def _enable(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await registration.enable_client(await allowed_client(request, client_id))
    return path_of(client_id), "enabled"


async def _not_before(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await service.set_not_before(await allowed_client(request, client_id), clock.now())
    return path_of(client_id), "tokens-revoked"


async def _contain(request: AdminRequest, client_id: str) -> Response[Any]:
    report = await contain_client(await allowed_client(request, client_id))
    return reports.to_report(report)


async def _delete(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await service.delete_client(await allowed_client(request, client_id))
    return "/clients", "deleted"


_WRITE = Permission.CLIENTS_WRITE
actions.declare_actions(
    "clients",
    "client_id",
    named_client,
    [
        ConfirmedAction(
            "rotate_secret",
            "New secret",
            "The old secret stops working immediately, or after IDP_CLIENT_SECRET_OVERLAP if that is set."
            " The new one is shown once.",
            _WRITE,
            _rotate,
            question="Replace the secret of {Name}?",
        ),
        ConfirmedAction(
            "rotate_registration_token",
            "New registration token",
            "The old registration access token stops working immediately. The new one is shown once.",
            _WRITE,
            _rotate_registration_token,
            question="Replace the registration access token of {Name}?",
        ),
        ConfirmedAction(
            "end_previous_secret",
            "End the old secret",
            "Only the newest secret is accepted from now on.",
            _WRITE,
            _end_previous_secret,
            question="End the old secret of {Name}?",
        ),
        ConfirmedAction(
            "remove_logo",
            "Remove the logo",
            "Pages show the name only. You can add a logo again.",
            _WRITE,
            _remove_logo,
            danger=False,
            question="Remove the logo of {Name}?",
        ),
        ConfirmedAction(
            "disable",
            "Disable",
            "The requests of the client are refused, and all its tokens are revoked. You can enable it again; users"
            " then sign in again.",
            _WRITE,
            _disable,
            question="Disable {Name}?",
        ),
        ConfirmedAction(
            "enable",
            "Enable",
            "The requests of the client are accepted again. Users have to sign in again.",
            _WRITE,
            _enable,
            danger=False,
            question="Enable {Name}?",
        ),
        ConfirmedAction(
            "not_before",
            "Revoke all tokens",
            "Tokens issued to the client until now are rejected. Users sign in again. This cannot be undone.",
            _WRITE,
            _not_before,
            question="Revoke all tokens of {Name}?",
            typed="Name",
            allowed=allowed_client,
        ),
        ConfirmedAction(
            "contain",
            "Contain",
            "For a compromised client. The client is disabled, and all its tokens and consents end. You can"
            " enable it again. Tokens and consents do not come back.",
            _WRITE,
            _contain,
            question="Contain {Name}?",
        ),
        ConfirmedAction(
            "delete",
            "Delete",
            "Deletes the client and everything issued to it: tokens, consents, roles and policies."
            " This cannot be undone.",
            _WRITE,
            _delete,
            question="Delete {Name}?",
            typed="Name",
            allowed=allowed_client,
        ),
    ],
)
