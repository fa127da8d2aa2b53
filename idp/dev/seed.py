"""Sample data: a user, a web client, a service, and an API that both may call."""

import hmac
import secrets
from pathlib import Path
from typing import Any

import msgspec

from idp.accounts.passwords import verify_password
from idp.accounts.repository.users import user_by_email
from idp.accounts.users import create_user, set_password
from idp.errors import OAuthError, OperatorError
from idp.ids import digest
from idp.oauth.clients import repository
from idp.oauth.clients.registration import change, register_client, register_resource_server, rotate_secret
from idp.oauth.credentials import credentials_changed

EMAIL = "demo@example.com"
CLIENT_ID = "demo"
SERVICE_CLIENT_ID = "demo-service"
API = "https://api.example.com"

#: Every standard claim, so that each scope returns something.
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
    "phone_number": "+49 30 23125042",
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


class Demo(msgspec.Struct):
    """The credentials of the sample data. The server itself stores only hashes of the secrets."""

    password: str
    client_secret: str
    service_client_secret: str


class CannotKeepSecretsError(OperatorError):
    """The secrets of the sample data cannot be written to the data folder."""


async def seed(data_dir: Path, issuer: str) -> Demo:
    """Create missing sample data. Secrets that are lost or no longer valid are replaced.

    Raises:
        CannotKeepSecretsError: the folder is not writable.
    """
    # An empty secret is never valid.
    kept = load(data_dir) or Demo("", "", "")
    demo = Demo(
        await _user(kept.password),
        await _web_client(kept.client_secret, issuer),
        await _service(kept.service_client_secret),
    )
    await _api()
    if demo != kept:
        _save(data_dir / "demo.json", demo)
    return demo


def _save(path: Path, demo: Demo) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A new file: the permissions of an existing one may be too wide.
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(msgspec.json.encode(demo))
    except OSError as error:
        raise CannotKeepSecretsError(
            f"Cannot write {path}: {error.strerror}. Set IDP_DATA_DIR to a folder that can be written to."
        ) from error


def load(data_dir: Path) -> Demo | None:
    """Return the secrets of the sample data, or None if there are none."""
    try:
        return msgspec.json.decode((data_dir / "demo.json").read_bytes(), type=Demo)
    except (OSError, msgspec.MsgspecError):
        return None


async def _user(kept: str) -> str:
    user = await user_by_email(EMAIL)
    if user is not None and await verify_password(user.password_hash, kept):
        return kept
    password = "-".join(secrets.token_hex(2) for _ in range(4))
    if user is None:
        await create_user(EMAIL, password, **CLAIMS)
    else:
        await set_password(user.id, password, credentials_changed)
    return password


async def _client(client_id: str, kept: str, **metadata: Any) -> str:
    """Register a client if it is missing. Returns a valid secret: the stored one if it still works."""
    client = await repository.find_client(client_id)
    if client is None:
        _, secret = await register_client(client_id, **metadata)
        return secret or ""
    if hmac.compare_digest(digest(kept), client.client_secret_hash or b""):
        return kept
    return await rotate_secret(client_id)


async def _web_client(kept: str, issuer: str) -> str:
    secret = await _client(
        CLIENT_ID,
        kept,
        client_name="Demo application",
        grant_types=["authorization_code", "refresh_token"],
        scope="openid profile email address phone offline_access orders:read",
        redirect_uris=[f"{issuer}/demo/callback"],
        post_logout_redirect_uris=[f"{issuer}/demo"],
        client_uri=f"{issuer}/demo",
    )
    await _follow(issuer)
    return secret


async def _follow(issuer: str) -> None:
    """Set the demo client's redirect URIs to the current address of this server."""
    uris = {
        "redirect_uris": [f"{issuer}/demo/callback"],
        "post_logout_redirect_uris": [f"{issuer}/demo"],
        "client_uri": f"{issuer}/demo",
    }
    async with change():
        await repository.update_metadata(CLIENT_ID, uris)


async def _service(kept: str) -> str:
    return await _client(
        SERVICE_CLIENT_ID,
        kept,
        client_name="Demo service",
        grant_types=["client_credentials"],
        scope="orders:read orders:write",
    )


async def _api() -> None:
    try:
        await register_resource_server(
            API,
            "Orders",
            scope="orders:read orders:write",
            scope_descriptions={"orders:read": "See your orders", "orders:write": "Place and change orders"},
            client_id=SERVICE_CLIENT_ID,
        )
    except OAuthError as error:
        if error.code != "invalid_target":
            raise


def service_token_command(demo: Demo, issuer: str) -> str:
    """Return a shell command that requests a token."""
    return (
        f"curl -s {issuer}/token -u {SERVICE_CLIENT_ID}:{demo.service_client_secret}"
        f" -d grant_type=client_credentials -d resource={API}"
    )


def banner(demo: Demo, issuer: str) -> str:
    """Return the text that `make run` prints once the server is up."""
    return f"""
  idp is running.

    Open        {issuer}
    Sign in as  {EMAIL}
    Password    {demo.password}

  Next, get a token for a service, in another terminal:

    {service_token_command(demo, issuer)}

  Ctrl-C stops the server and its database.
"""
