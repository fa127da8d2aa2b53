"""The start page of development mode."""

import shutil
import sys
from pathlib import Path
from typing import Any

from litestar import Request, Response, get

from idp.dev import seed
from idp.http.access import Access
from idp.http.pages import page
from idp.settings import settings


def _endpoints(issuer: str) -> list[tuple[str, str, str]]:
    return [
        ("Discovery", f"{issuer}/.well-known/openid-configuration", "The document that client libraries read first."),
        ("Keys", f"{issuer}/.well-known/jwks.json", "The keys with which resource servers validate tokens."),
        ("Authorization", f"{issuer}/authorize", "Where clients send the browser."),
        ("Pushed requests", f"{issuer}/par", "Where clients push authorization requests."),
        ("Devices", f"{issuer}/device_authorization", "Where devices without a browser begin."),
        ("Token", f"{issuer}/token", "Where clients redeem codes and refresh."),
        ("Userinfo", f"{issuer}/userinfo", "The user of an access token."),
        ("Introspection", f"{issuer}/introspect", "Whether a token is still valid."),
        ("Revocation", f"{issuer}/revoke", "Where clients revoke tokens."),
        ("Challenge", f"{issuer}/challenge", "Where your own apps sign users in with their own screens."),
        ("Log-out", f"{issuer}/logout", "Where clients send the browser to sign out."),
    ]


def _idp() -> str:
    """Return the `idp` command as it is called from the folder in which the server was started."""
    if shutil.which("idp"):
        return "idp"
    command = Path(sys.executable).with_name("idp")
    return str(command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command)


def _commands(demo: seed.Demo, issuer: str) -> list[tuple[str, str]]:
    idp = _idp()
    return [
        ("A token for a service", seed.service_token_command(demo, issuer)),
        (
            "Your own client",
            f"{idp} clients create --name 'My app' --redirect-uri http://localhost:3000/callback",
        ),
        ("Your own user", f"{idp} users create you@example.com"),
        ("A new signing key, while everything runs", f"{idp} keys rotate"),
    ]


@get("/", opt={"access": Access.PAGE})
async def start(_: Request[Any, Any, Any]) -> Response[Any]:
    """Describe what is running and what to try."""
    issuer, demo = settings().issuer, seed.load(settings().data_dir)
    return page(
        "dev/start.html",
        issuer=issuer,
        endpoints=_endpoints(issuer),
        demo_user=seed.EMAIL,
        demo_password=demo.password if demo else None,
        commands=_commands(demo, issuer) if demo else [],
    )


ROUTES = [start]
