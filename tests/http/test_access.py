"""A route without a declared access prevents the start."""

from typing import Any

import pytest
from litestar import WebSocket, get, route, websocket

from idp.http.access import GUARDS, Access
from idp.http.cors import Cors
from idp.http.routes import Routes
from idp.settings import settings
from tests.support.routes import posts_of_pages, routes

#: Who may call which route. A new route, or one that becomes public, must be added here too.
DECLARED = {
    "/": "page",
    "/access/{request_id:str}": "page",
    "/.well-known/jwks.json": "public",
    "/.well-known/oauth-authorization-server": "public",
    "/.well-known/openid-configuration": "public",
    "/.well-known/revoked-access-tokens": "public",
    "/.well-known/ssf-configuration": "public",
    "/account": "page",
    "/account/activity": "page",
    "/account/attributes": "page",
    "/account/apps": "page",
    "/account/apps/{client_id:str}/revoke": "page",
    "/account/data": "page",
    "/account/data/delete": "page",
    "/account/data/download": "page",
    "/account/email": "page",
    "/account/organizations": "page",
    "/account/organizations/invitations/{invitation_id:uuid}": "page",
    "/account/organizations/{organization_id:uuid}/leave": "page",
    "/account/passkeys": "page",
    "/account/passkeys/{passkey_id:uuid}": "page",
    "/account/password": "page",
    "/account/picture": "page",
    "/account/picture/remove": "page",
    "/account/recovery-codes": "page",
    "/account/recovery-codes/new": "page",
    "/account/requests": "page",
    "/account/requests/{request_id:uuid}": "page",
    "/account/security": "page",
    "/account/sessions": "page",
    "/account/sessions/end": "page",
    "/account/sessions/{session_id:uuid}/end": "page",
    "/account/totp": "page",
    "/account/totp/remove": "page",
    "/account/two-step": "page",
    "/account/upstreams/{identity_id:uuid}/unlink": "page",
    "/account/upstreams/{upstream_id:str}/link": "page",
    "/authorize": "entry",
    "/authorize/{request_id:str}": "page",
    "/authorize/{request_id:str}/cancel": "page",
    "/authorize/{request_id:str}/organization": "page",
    "/backchannel-authentication": "client",
    "/challenge": "client",
    "/challenge/forgot": "client",
    "/challenge/reset": "client",
    "/consent/{request_id:str}": "page",
    "/device": "page",
    "/device/approved": "page",
    "/device/confirm": "page",
    "/device/denied": "page",
    "/device_authorization": "client",
    "/favicon.ico": "public",
    "/doctor/probe": "public",
    "/health/live": "public",
    "/health/ready": "public",
    "/introspect": "client",
    "/invitation": "page",
    "/invitation/organization": "page",
    "/jwks/{jwks_id:str}": "public",
    "/language": "page",
    "/login": "page",
    "/login/{flow_id:str}": "page",
    "/login/{flow_id:str}/address": "page",
    "/login/{flow_id:str}/forgot": "page",
    "/login/{flow_id:str}/to/{upstream_id:str}": "page",
    "/login/{flow_id:str}/{step:str}": "page",
    "/logos/{client_id:str}": "public",
    "/branding/pictures/{sha256:str}": "public",
    "/branding/styles/{name:str}": "public",
    "/logout": "entry",
    "/logout/confirm": "page",
    "/logout/return": "entry",
    "/organization/{slug:str}": "page",
    "/organization/{slug:str}/domains": "page",
    "/organization/{slug:str}/domains/add": "page",
    "/organization/{slug:str}/domains/{domain_id:uuid}": "page",
    "/organization/{slug:str}/domains/{domain_id:uuid}/remove": "page",
    "/organization/{slug:str}/domains/{domain_id:uuid}/verify": "page",
    "/organization/{slug:str}/events": "page",
    "/organization/{slug:str}/invitations": "page",
    "/organization/{slug:str}/invitations/add": "page",
    "/organization/{slug:str}/invitations/{invitation_id:uuid}": "page",
    "/organization/{slug:str}/invitations/{invitation_id:uuid}/resend": "page",
    "/organization/{slug:str}/invitations/{invitation_id:uuid}/revoke": "page",
    "/organization/{slug:str}/members/add": "page",
    "/organization/{slug:str}/members/{user_id:uuid}": "page",
    "/organization/{slug:str}/members/{user_id:uuid}/admin": "page",
    "/organization/{slug:str}/members/{user_id:uuid}/give": "page",
    "/organization/{slug:str}/members/{user_id:uuid}/reactivate": "page",
    "/organization/{slug:str}/members/{user_id:uuid}/remove": "page",
    "/organization/{slug:str}/members/{user_id:uuid}/take/{role_id:uuid}": "page",
    "/organization/{slug:str}/name": "page",
    "/organization/{slug:str}/policy": "page",
    "/organization/{slug:str}/roles": "page",
    "/organization/{slug:str}/roles/add": "page",
    "/organization/{slug:str}/roles/{role_id:uuid}": "page",
    "/organization/{slug:str}/roles/{role_id:uuid}/change": "page",
    "/organization/{slug:str}/roles/{role_id:uuid}/contain": "page",
    "/organization/{slug:str}/roles/{role_id:uuid}/delete": "page",
    "/organization/{slug:str}/roles/{role_id:uuid}/give": "page",
    "/organization/{slug:str}/roles/{role_id:uuid}/release/{contained_id:uuid}": "page",
    "/organization/{slug:str}/scim": "page",
    "/organization/{slug:str}/scim/add": "page",
    "/organization/{slug:str}/scim/{token_id:uuid}": "page",
    "/organization/{slug:str}/scim/{token_id:uuid}/revoke": "page",
    "/organization/{slug:str}/scim/{token_id:uuid}/rotate": "page",
    "/par": "client",
    "/register": "client",
    "/register/{client_id:str}": "client",
    "/reset": "page",
    "/revoke": "client",
    "/scim/v2/.search": "bearer",
    "/scim/v2/Bulk": "bearer",
    "/scim/v2/Groups": "bearer",
    "/scim/v2/Groups/.search": "bearer",
    "/scim/v2/Groups/{group_id:str}": "bearer",
    "/scim/v2/Me": "bearer",
    "/scim/v2/ResourceTypes": "public",
    "/scim/v2/ResourceTypes/{type_id:str}": "public",
    "/scim/v2/Schemas": "public",
    "/scim/v2/Schemas/{schema_id:str}": "public",
    "/scim/v2/ServiceProviderConfig": "public",
    "/scim/v2/Users": "bearer",
    "/scim/v2/Users/.search": "bearer",
    "/scim/v2/Users/{user_id:str}": "bearer",
    "/scim/v2/{path:path}": "public",
    "/session/check": "public",
    "/ssf/poll/{stream_id:str}": "bearer",
    "/ssf/status": "bearer",
    "/ssf/streams": "bearer",
    "/ssf/subjects/add": "bearer",
    "/ssf/subjects/remove": "bearer",
    "/ssf/verify": "bearer",
    "/static/{name:path}": "public",
    "/token": "client",
    "/unlock": "page",
    "/not-me": "page",
    "/forgot": "page",
    "/login/{flow_id:str}/way": "page",
    "/upstreams/{upstream_id:str}/backchannel-logout": "client",
    "/upstreams/{upstream_id:str}/callback": "entry",
    "/userinfo": "bearer",
    "/password/strength": "page",
    "/pictures/{token:str}": "public",
}


async def _answer(_: object) -> None: ...


@pytest.mark.parametrize("options", [{}, {"opt": {}}, {"opt": {"access": None}}, {"opt": {"access": "everybody"}}])
def test_an_undeclared_route_does_not_start(options: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="/undeclared does not declare who may call it"):
        Routes([get("/undeclared", **options)(_answer)])


@pytest.mark.parametrize("access", Access)
def test_a_declared_route_starts(access: Access) -> None:
    assert [route.path for route in Routes([get("/declared", opt={"access": access})(_answer)])] == ["/declared"]


def test_every_access_has_its_guards() -> None:
    assert set(GUARDS) == set(Access)


@pytest.mark.parametrize("access", [Access.PAGE, Access.ENTRY])
def test_a_page_cannot_allow_other_origins(access: Access) -> None:
    with pytest.raises(RuntimeError, match="no other origin may read it"):
        Routes([get("/page", opt={"access": access, "cors": Cors.CLIENT})(_answer)])


def test_every_method_of_a_path_must_declare() -> None:
    declared = get("/path", opt={"access": Access.PUBLIC})(_answer)
    undeclared = route("/path", http_method=["PUT"])(_answer)
    with pytest.raises(RuntimeError, match="/path"):
        Routes([declared, undeclared])


def test_a_websocket_is_refused() -> None:
    async def listen(socket: WebSocket[Any, Any, Any]) -> None: ...

    for declared in ({}, {"access": Access.PUBLIC}):
        with pytest.raises(RuntimeError, match="/socket"):
            Routes([websocket("/socket", opt=declared)(listen)])


def test_the_application_checks_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from idp import app
    from idp.http import health

    monkeypatch.setattr(app, "configure_logs", lambda _: None)
    monkeypatch.setattr(health, "ROUTES", [*health.ROUTES, get("/forgotten")(_answer)])
    with pytest.raises(RuntimeError, match="/forgotten"):
        app.create_app()


def test_every_route_of_the_application_declares() -> None:
    declared = {route.path: str(route.access) for route in routes()}
    admin = {path: access for path, access in declared.items() if path.startswith("/admin")}
    assert {path: access for path, access in declared.items() if path not in admin} == DECLARED
    document = "/admin/api/v1/openapi.json"
    assert admin.pop(document) == "public"
    for path, access in admin.items():
        assert access == ("bearer" if path.startswith("/admin/api/") else "page"), path


def test_development_mode_adds_only_its_own() -> None:
    added = {route.path for route in routes(dev=True)} - {route.path for route in routes()}
    assert added
    assert all(path.startswith(("/demo", "/dev/")) for path in added)
    assert not settings().dev


def test_the_forms_of_our_pages_are_found() -> None:
    """The tests of attack row 51 (tests/attacks/README.md) use this list."""
    assert {str(route) for route in posts_of_pages()} == {
        "POST /access/{request_id:str}",
        "POST /account",
        "POST /account/apps/{client_id:str}/revoke",
        "POST /account/attributes",
        "POST /account/data/delete",
        "POST /account/data/download",
        "POST /account/email",
        "POST /account/organizations/invitations/{invitation_id:uuid}",
        "POST /account/organizations/{organization_id:uuid}/leave",
        "POST /account/passkeys",
        "POST /account/passkeys/{passkey_id:uuid}",
        "POST /account/password",
        "POST /account/picture",
        "POST /account/picture/remove",
        "POST /password/strength",
        "POST /account/recovery-codes",
        "POST /account/requests/{request_id:uuid}",
        "POST /account/sessions/end",
        "POST /account/sessions/{session_id:uuid}/end",
        "POST /account/totp",
        "POST /account/totp/remove",
        "POST /account/two-step",
        "POST /account/upstreams/{identity_id:uuid}/unlink",
        "POST /authorize/{request_id:str}/organization",
        "POST /consent/{request_id:str}",
        "POST /device",
        "POST /device/confirm",
        "POST /invitation",
        "POST /invitation/organization",
        "POST /login/{flow_id:str}",
        "POST /login/{flow_id:str}/address",
        "POST /login/{flow_id:str}/forgot",
        "POST /login/{flow_id:str}/{step:str}",
        "POST /logout/confirm",
        "POST /reset",
        "POST /unlock",
        "POST /not-me",
        "POST /login/{flow_id:str}/way",
    }
