"""Row 44: no schema of the admin API has a field for a stored secret, and no response contains one."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.admin.api.openapi import document
from idp.admin.roles import Role
from idp.infra.db.engine import fetch
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth.clients.metadata import ClientMetadata
from idp.signin.transitions import Step
from tests.admin.api.conftest import make_caller
from tests.conftest import MASTER_KEY
from tests.support.browser import Browser, Page
from tests.support.oauth import PASSWORD
from tests.support.person import equip
from tests.support.server import Server

SECRET = re.compile(r"secret|password|hash|token|private|sealed|otp|recovery|challenge", re.IGNORECASE)
#: Names that sound like secrets but are not.
HARMLESS = {
    *ClientMetadata.__struct_fields__,
    *("client_secret_live", "client_secret_expires_at", "previous_secret_live", "previous_secret_expires_at"),
    *("has_client_secret", "access_token_signed_response_alg", "last_token_expires_at", "secret", "send_mail"),
    *("keep_tokens", "access_token_type", "old_secret_until", "subject_token_types", "tokens_until"),
}


def properties(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value.get("properties", {})
        for inner in value.values():
            yield from properties(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from properties(inner)


def test_44_no_response_schema_has_a_secret() -> None:
    """Except those that show a new client secret, or a new token of registration or SCIM, once."""
    schemas = document()["components"]["schemas"]
    taken = {
        reference["$ref"].rpartition("/")[2]
        for methods in document()["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
        for reference in [operation["requestBody"]["content"]["application/json"]["schema"]]
    }
    shown_once = ("NewSecret", "NewToken", "NewRegistrationToken", "ScimTokenValue")
    for name, schema in schemas.items():
        if name in taken or name.rpartition("_")[2] in shown_once:
            continue
        assert {each for each in properties(schema) if SECRET.search(each)} <= HARMLESS, name
    (setting,) = [schema for name, schema in schemas.items() if name.endswith("Setting")]
    assert setting["properties"]["secret"]["type"] == "boolean"


@pytest.mark.parametrize("role", [Role.OWNER, Role.AUDITOR])
async def test_44_no_response_contains_a_secret(
    role: Role, server: Server, http: httpx.AsyncClient, browser: Browser, alice: User
) -> None:
    person = await equip(alice, server.issuer, [Step.TOTP], two_step=False)
    page = await browser.get("/login")
    assert isinstance(page, Page)
    await browser.sign_in(page, alice.email, PASSWORD)
    caller = await make_caller(server, http, role)
    (user,) = await fetch("SELECT password_hash FROM users WHERE id = $1", alice.id)
    assert person.app is not None
    secrets = [MASTER_KEY, caller.secret, user["password_hash"], person.app.secret, *browser.cookies.values()]
    secrets += [jose.to_private_jwk(key)["d"] for key in key_set.verification().values()]
    for path, methods in document()["paths"].items():
        if "get" not in methods or "{" in path:
            continue
        query = f"?user_id={alice.id}" if path in ("/sessions", "/consents") else "?limit=200"
        answer = await caller("GET", path + (query if path not in ("/me", "/settings") else ""))
        assert answer.status_code == 200, answer.text
        assert not [secret for secret in secrets if secret in answer.text], path
