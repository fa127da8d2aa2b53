"""Sample data: a person, a web client, a service, and an API that both may call."""

import secrets
from pathlib import Path
from typing import Any

import msgspec

from idp.accounts.passwords import hash_password
from idp.accounts.tables import User, user_by_email
from idp.accounts.users import create_user
from idp.db.engine import execute, transaction
from idp.db.notices import announce
from idp.errors import OAuthError
from idp.oauth.clients.registration import register_client, register_resource_server, rotate_secret
from idp.oauth.clients.tables import ClientRow

EMAIL = "demo@example.com"
CLIENT_ID = "demo"
SERVICE_CLIENT_ID = "demo-service"
API = "https://api.example.com"

#: Every standard claim, so that each scope has something to show.
CLAIMS: dict[str, Any] = {
    "email_verified": True,
    "name": "Dana Demo Example",
    "given_name": "Dana",
    "middle_name": "Demo",
    "family_name": "Example",
    "nickname": "dana",
    "preferred_username": "dana.example",
    "profile": "https://example.com/dana",
    "picture": "https://example.com/dana.png",
    "website": "https://dana.example.com",
    "gender": "female",
    "birthdate": "1990-10-31",
    "zoneinfo": "Europe/Berlin",
    "locale": "en-GB",
    "phone_number": "+49 30 901820",
    "phone_number_verified": True,
    "address": {
        "formatted": "Unter den Linden 77\n10117 Berlin\nGermany",
        "street_address": "Unter den Linden 77",
        "locality": "Berlin",
        "region": "Berlin",
        "postal_code": "10117",
        "country": "Germany",
    },
}

_FOLLOW = """
UPDATE client SET redirect_uris = $2, post_logout_redirect_uris = $3, client_uri = $4 WHERE client_id = $1
"""


class Demo(msgspec.Struct):
    """What a developer needs to know of the sample data. The server itself keeps only hashes of the secrets."""

    password: str
    client_secret: str
    service_client_secret: str


async def seed(data_dir: Path, issuer: str) -> Demo:
    """Make the sample data unless it is there. Secrets that were lost are made anew."""
    known = load(data_dir)
    if known is not None and await user_by_email(EMAIL) and await ClientRow.exists().where(_is(CLIENT_ID)):
        await _follow_issuer(issuer)
        return known
    demo = Demo(await _user(), await _web_client(issuer), await _service())
    await _api()
    _save(data_dir, demo)
    return demo


def _save(data_dir: Path, demo: Demo) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / "demo.json"
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(demo))


def load(data_dir: Path) -> Demo | None:
    """The secrets of the sample data, if this server made some."""
    try:
        return msgspec.json.decode((data_dir / "demo.json").read_bytes(), type=Demo)
    except (OSError, msgspec.MsgspecError):
        return None


def _is(client_id: str) -> Any:
    return ClientRow.client_id == client_id


async def _user() -> str:
    password = "-".join(secrets.token_hex(2) for _ in range(4))
    user = await user_by_email(EMAIL)
    if user is None:
        await create_user(EMAIL, password, **CLAIMS)
    else:
        await User.update({User.password_hash: await hash_password(password)}).where(User.id == user.id)
    return password


def _uris(issuer: str) -> dict[str, list[str]]:
    return {"redirect_uris": [f"{issuer}/demo/callback"], "post_logout_redirect_uris": [f"{issuer}/demo"]}


async def _web_client(issuer: str) -> str:
    if await ClientRow.exists().where(_is(CLIENT_ID)):
        await _follow_issuer(issuer)
        return await rotate_secret(CLIENT_ID)
    _, secret = await register_client(
        CLIENT_ID,
        client_name="Demo application",
        grant_types=["authorization_code", "refresh_token"],
        scope="openid profile email address phone offline_access orders:read",
        client_uri=f"{issuer}/demo",
        **_uris(issuer),
    )
    return secret or ""


async def _service() -> str:
    if await ClientRow.exists().where(_is(SERVICE_CLIENT_ID)):
        return await rotate_secret(SERVICE_CLIENT_ID)
    _, secret = await register_client(
        SERVICE_CLIENT_ID,
        client_name="Demo service",
        grant_types=["client_credentials"],
        scope="orders:read orders:write",
    )
    return secret or ""


async def _api() -> None:
    try:
        await register_resource_server(API, "Orders", scope="orders:read orders:write", client_id=SERVICE_CLIENT_ID)
    except OAuthError as error:
        if error.error != "invalid_target":
            raise


async def _follow_issuer(issuer: str) -> None:
    """The demo client lives on this server, wherever that is today."""
    uris = _uris(issuer)
    async with transaction():
        await announce("clients")
        await execute(
            _FOLLOW,
            CLIENT_ID,
            uris["redirect_uris"],
            uris["post_logout_redirect_uris"],
            f"{issuer}/demo",
        )


def service_token_command(demo: Demo, issuer: str) -> str:
    """A command that gets a token when it is pasted."""
    return (
        f"curl -s {issuer}/token -u {SERVICE_CLIENT_ID}:{demo.service_client_secret}"
        f" -d grant_type=client_credentials -d resource={API}"
    )


def banner(demo: Demo, issuer: str) -> str:
    """What `make run` prints when the server is up."""
    return f"""
  idp is running.

    Open        {issuer}
    Sign in as  {EMAIL}
    Password    {demo.password}

  Next, get a token for a service, in another terminal:

    {service_token_command(demo, issuer)}

  Ctrl-C stops the server and its database.
"""
