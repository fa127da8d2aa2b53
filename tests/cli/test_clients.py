"""`idp clients` and `idp resources`."""

import asyncio
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from idp import ids
from idp.keys import jose
from idp.oauth import subjects
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.profiles import PROFILES
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.repository import find_client, flat
from idp.oauth.clients.tables import ClientRow
from tests.cli.conftest import Cli, OwnCli
from tests.conftest import MakeUser
from tests.support.elsewhere import answer, serving
from tests.support.server import LOOPBACK

URI = "https://shop.example/callback"


async def stored(client_id: str) -> dict[str, Any]:
    row = await ClientRow.select().where(ClientRow.client_id == client_id).first()
    assert row is not None
    return flat(row)


async def test_the_life_of_a_client(cli: Cli) -> None:
    created = cli("clients", "create", "--name", "Shop", "--redirect-uri", URI)
    words = created.out.split()
    client_id, secret = words[1], words[3]
    assert words[::2] == ["client_id", "client_secret"]
    assert "shown only now" in created.err
    row = await stored(client_id)
    assert row["client_secret_hash"] == ids.digest(secret)
    assert row["grant_types"] == ["authorization_code", "refresh_token"]

    shown = cli("clients", "show", client_id, "--json")
    assert shown.json["redirect_uris"] == [URI]
    assert "client_secret_hash" not in shown.json
    listed = cli("clients", "list")
    assert "Client id" in listed.out
    assert client_id in [client["client_id"] for client in cli("clients", "list", "--json").json]
    assert secret not in shown.out + listed.out

    rotated = cli("clients", "rotate-secret", client_id, "--json").json
    assert (await stored(client_id))["client_secret_hash"] == ids.digest(rotated["client_secret"])

    assert "is disabled" in cli("clients", "disable", client_id).out
    assert (await stored(client_id))["disabled_at"] is not None
    assert "was disabled already" in cli("clients", "disable", client_id).out
    assert "is enabled" in cli("clients", "enable", client_id).out
    assert (await stored(client_id))["disabled_at"] is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--type", "spa", "--redirect-uri", "http://localhost:5173/cb", "--refresh-token-cookie"],
            {
                "token_endpoint_auth_method": "none",
                "application_type": "web",
                "require_pkce": True,
                "refresh_token_cookie": True,
                "client_secret_hash": None,
            },
        ),
        (
            ["--type", "native", "--redirect-uri", "com.example.app:/cb", "--redirect-uri", "http://127.0.0.1/cb"],
            {
                "token_endpoint_auth_method": "none",
                "application_type": "native",
                "redirect_uris": ["com.example.app:/cb", "http://127.0.0.1/cb"],
            },
        ),
        (
            ["--type", "service", "--scope", "read write", "--auth-method", "client_secret_post"],
            {
                "token_endpoint_auth_method": "client_secret_post",
                "grant_types": ["client_credentials"],
                "scope": "read write",
                "redirect_uris": [],
            },
        ),
        (
            f"--redirect-uri {URI} --no-pkce --skip-consent --single-session --scope openid"
            " --grant-type authorization_code --post-logout-redirect-uri https://shop.example/".split(),
            {
                "require_pkce": False,
                "skip_consent": True,
                "single_session": True,
                "scope": "openid",
                "grant_types": ["authorization_code"],
                "post_logout_redirect_uris": ["https://shop.example/"],
            },
        ),
    ],
    ids=["spa", "native", "service", "web"],
)
async def test_kinds_of_client(cli: Cli, arguments: list[str], expected: dict[str, Any]) -> None:
    client_id = f"client-{ids.random_token()[:8]}"
    created = cli("clients", "create", "--name", "A", "--id", client_id, "--json", *arguments).json
    row = await stored(client_id)
    assert created["client_id"] == client_id
    assert ("client_secret" in created) == (row["client_secret_hash"] is not None)
    assert {name: row[name] for name in expected} == expected


async def test_a_profile(cli: Cli, tmp_path: Path) -> None:
    """It sets what it requires. What it forbids is refused with the reason, also later."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jose.generate("ES256").public_jwk]}))
    bank = [
        "clients",
        "create",
        "--name",
        "A",
        "--redirect-uri",
        URI,
        "--profile",
        "fapi2",
        "--jwks",
        str(file),
        "--json",
    ]
    assert "requires --auth-method" in cli.fails(*bank, "--auth-method", "client_secret_basic")
    created = cli(*bank).json
    assert "client_secret" not in created
    client_id = created["client_id"]
    row = await stored(client_id)
    assert (row["token_endpoint_auth_method"], row["dpop_bound_access_tokens"]) == ("private_key_jwt", True)
    for option in ("--no-pkce", "--no-dpop-bound-access-tokens", "--no-require-pushed-authorization-requests"):
        assert "The profile fapi2 requires" in cli.fails("clients", "update", client_id, option)
    cli("clients", "update", client_id, "--profile", "", "--no-dpop-bound-access-tokens")
    row = await stored(client_id)
    assert (row["profile"], row["dpop_bound_access_tokens"]) == (None, False)


@pytest.mark.fault(34)
async def test_the_way_to_authenticate_can_be_changed(cli: Cli) -> None:
    client_id = f"client-{ids.random_token()[:8]}"
    cli("clients", "create", "--name", "A", "--id", client_id, "--redirect-uri", URI)
    cli("clients", "update", client_id, "--auth-method", "client_secret_post", "--strict-auth-method")
    row = await stored(client_id)
    assert (row["token_endpoint_auth_method"], row["strict_auth_method"]) == ("client_secret_post", True)
    cli("clients", "update", client_id, "--auth-method", "none", "--any-auth-method")
    row = await stored(client_id)
    assert (row["client_secret_hash"], row["strict_auth_method"]) == (None, False)
    changed = cli("clients", "update", client_id, "--auth-method", "client_secret_basic", "--json")
    assert f"idp clients rotate-secret {client_id}" in changed.err
    assert cli("clients", "rotate-secret", client_id, "--json").json["client_secret"]


async def test_every_kind_of_option(cli: Cli, tmp_path: Path) -> None:
    """A list, a number, a flag, a choice and a JSON object, which may be in a file; an empty value clears each."""
    jwks = {"keys": [jose.generate("ES256").public_jwk]}
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(jwks))
    options: dict[str, Any] = {
        "--default-max-age": 3600,
        "--request-object-signing-alg": "ES256",
        "--acr": 2,
        "--subject-type": "pairwise",
        "--upstream": "google",
        "--jwks": file,
    }
    contacts = [word for contact in ("ops@shop.example", "security@shop.example") for word in ("--contact", contact)]
    given = [str(word) for option in options.items() for word in option] + [*contacts, "--require-auth-time", "--json"]
    created = cli("clients", "create", "--name", "A", "--redirect-uri", URI, *given).json
    row = await stored(created["client_id"])
    expected = {
        "contacts": ["ops@shop.example", "security@shop.example"],
        "default_max_age": 3600,
        "require_auth_time": True,
        "request_object_signing_alg": "ES256",
        "default_acr_values": ["2"],
        "subject_type": "pairwise",
        "upstreams": ["google"],
        "jwks": jwks,
    }
    assert {name: row[name] for name in expected} == expected
    update = ("clients", "update", created["client_id"])
    cleared = (
        *("--contact", "", "--default-max-age", "", "--no-require-auth-time", "--request-object-signing-alg", ""),
        *("--acr", "", "--upstream", "", "--jwks", ""),
    )
    shown = cli(*update, *cleared, "--json").json
    empty = {"contacts": [], "default_max_age": None, "require_auth_time": False, "request_object_signing_alg": None}
    assert shown | empty | {"default_acr_values": [], "upstreams": None, "jwks": None} == shown
    assert cli(*update, "--jwks", json.dumps(jwks), "--json").json["jwks"] == jwks


def test_options_that_cannot_be_read(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    for option, value in (
        ("--default-max-age", "-1"),
        ("--default-max-age", "1h"),
        ("--jwks", "{"),
        ("--jwks", str(tmp_path / "missing.json")),
        ("--jwks", str(tmp_path / "list.json")),
        ("--subject-type", "secret"),
    ):
        assert "Invalid value" in cli("clients", "update", "x", option, value, code=2).err


def test_the_members_are_listed(cli: Cli) -> None:
    listed = cli("clients", "metadata", "--json").json
    assert {row["name"] for row in listed} == set(ClientMetadata.__struct_fields__)
    assert "--jwks-uri" in cli("clients", "metadata").out


async def test_two_secrets_during_a_change(cli: Cli) -> None:
    created = cli("clients", "create", "--name", "A", "--redirect-uri", URI, "--json").json
    client_id = created["client_id"]
    cli("clients", "rotate-secret", client_id, "--overlap", "1h")
    shown = cli("clients", "show", client_id, "--json").json
    assert (shown["client_secret_live"], shown["previous_secret_live"]) == (True, True)
    assert shown["previous_secret_expires_at"] is not None
    assert not {"previous_secret_hash", "client_secret_encrypted", "previous_secret_encrypted"} & shown.keys()
    assert (await stored(client_id))["previous_secret_hash"] == ids.digest(created["client_secret"])
    assert "accepts the newest secret only" in cli("clients", "end-old-secret", client_id).out
    assert "has no old secret" in cli("clients", "end-old-secret", client_id).out
    assert cli("clients", "show", client_id, "--json").json["previous_secret_live"] is False
    assert "The overlap must be" in cli.fails("clients", "rotate-secret", client_id, "--overlap", "91d")
    assert "There is no client" in cli.fails("clients", "end-old-secret", "nobody")


async def test_a_new_registration_access_token(cli: Cli) -> None:
    client_id = str(ids.uuid7())
    await register_client(client_id, origin="dynamic", client_name="A", redirect_uris=[URI])
    new = cli("clients", "rotate-registration-token", client_id, "--json").json["registration_access_token"]
    assert (await stored(client_id))["registration_token_hash"] == ids.digest(new)
    assert "The secret is shown only now." in cli("clients", "rotate-registration-token", client_id).err
    other = cli("clients", "create", "--name", "A", "--redirect-uri", URI, "--json").json["client_id"]
    assert "registered itself" in cli.fails("clients", "rotate-registration-token", other)


def test_a_scope_that_nothing_defines_is_named(cli: Cli) -> None:
    named = "may request orders:raed, which no resource server defines"
    words = ("--name", "A", "--redirect-uri", URI, "--scope", "openid orders:raed", "--json")
    created = cli("clients", "create", *words)
    assert created.err.startswith("The client A (")
    assert named in created.err
    client_id = created.json["client_id"]
    assert cli("clients", "update", client_id, "--name", "B").err == ""
    assert named in cli("clients", "update", client_id, "--scope", "orders:raed").err
    assert cli("clients", "update", client_id, "--scope", "openid").err == ""
    own = ("--name", "A", "--type", "service", "--scope", "admin:clients:read admin:users:read", "--json")
    assert cli("clients", "create", *own).err == ""


def test_invalid_clients_are_refused(cli: Cli) -> None:
    create = ["clients", "create", "--name", "Shop"]
    assert "redirect URI must" in cli.fails(*create, "--redirect-uri", "javascript:alert(1)")
    assert cli.fails(*create).startswith("--redirect-uri is needed")
    assert "must use PKCE" in cli.fails(*create, "--type", "spa", "--redirect-uri", URI, "--no-pkce")
    assert "--backchannel-logout-uri" in cli.fails(*create, "--type", "service", "--backchannel-logout-uri", URI)
    service = cli.fails(*create, "--type", "service", "--redirect-uri", URI)
    assert "authorization_code grant has no --redirect-uri" in service
    keys = cli.fails(*create, "--redirect-uri", URI, "--auth-method", "private_key_jwt")
    assert keys.endswith("needs --jwks or --jwks-uri.")
    assert cli.fails(*create, "--redirect-uri", URI, "--scope", "openid  email").startswith("--scope must be")
    assert "There is no client" in cli.fails("clients", "show", "nobody")


async def test_a_key_for_its_algorithm_is_there_when_it_is(own_cli: OwnCli) -> None:
    cli = await own_cli()
    cli("clients", "create", "--name", "A", "--redirect-uri", URI, "--id-token-alg", "ES256")
    assert [(key["alg"], key["state"]) for key in cli("keys", "list", "--json").json] == [("ES256", "active")]


def test_resource_servers(cli: Cli) -> None:
    identifier = f"https://api.example/{ids.random_token()[:8]}"
    create = ["resources", "create", identifier, "--name", "The API"]
    assert cli(*create, "--scope", "read", "--json").json["identifier"] == identifier
    assert "already" in cli.fails(*create)
    changed = cli("resources", "update", identifier, "--token-type", "JWT", "--json").json
    assert changed["access_token_type"] == "JWT"
    described = cli("resources", "update", identifier, "--scope-description", "read=Read = see all", "--json").json
    assert described["scope_descriptions"] == {"read": "Read = see all"}
    cli("resources", "update", identifier, "--scope-description", "read", code=2)
    assert "does not define" in cli.fails("resources", "update", identifier, "--scope-description", "write=Write")
    cleared = cli("resources", "update", identifier, "--scope-description", "", "--json").json
    assert cleared["scope_descriptions"] == {}
    assert identifier in cli("resources", "list").out
    found = [server for server in cli("resources", "list", "--json").json if server["identifier"] == identifier]
    assert [(server["name"], server["scope"]) for server in found] == [("The API", "read")]


async def test_a_resource_server_by_its_own_metadata(cli: Cli) -> None:
    async with serving() as serve:
        body = bytearray()
        port = await serve(lambda head, writer: answer(bytes(body))(head, writer))
        identifier = f"http://127.0.0.1:{port}/mcp"
        body += json.dumps(
            {"resource": identifier, "resource_name": "Notes", "scopes_supported": ["notes:read", "openid"]}
        ).encode()
        create = ["resources", "create", "--from-metadata", identifier, "--self-registered-clients", "--json"]
        made = (await asyncio.to_thread(cli, *create, **LOOPBACK)).json
    assert (made["identifier"], made["name"], made["scope"]) == (identifier, "Notes", "notes:read")
    assert made["self_registered_clients"]
    assert "no metadata" in await asyncio.to_thread(cli.fails, *create)
    cli("resources", "create", code=2)
    cli("resources", "create", identifier, "--from-metadata", identifier, code=2)
    cli("resources", "delete", identifier, "--yes")


def test_the_commands_of_the_page_about_mcp(cli: Cli) -> None:
    """The second one calls the server that it registers; the test above runs it."""
    page = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text()
    first, second = re.findall(r"^\$ idp (.*)$", page, re.MULTILINE)
    identifier = f"https://notes.example.com/{ids.random_token()[:8]}/mcp"
    made = cli(*shlex.split(first.replace("https://notes.example.com/mcp", identifier)), "--json").json
    assert (made["scope"], made["self_registered_clients"]) == ("notes:read notes:write", True)
    assert shlex.split(second)[:3] == ["resources", "create", "--from-metadata"]
    cli("resources", "delete", identifier, "--yes")


def test_types_of_authorization_details(cli: Cli, tmp_path: Path) -> None:
    name = f"payment-{ids.random_token()[:8]}"
    identifier, schema = f"https://bank.example/{name}", tmp_path / "payment.json"
    cli("resources", "create", identifier, "--name", "The bank")
    schema.write_text('{"type": "object", "properties": {"type": {}}, "additionalProperties": false}')
    create = ["authorization-details", "create", name, "--resource", identifier, "--title", "Make a payment"]
    assert "is missing" in cli.fails(*create)
    create += ["--schema", str(schema)]
    made = cli(*create, "--summary", "{amount}", "--json").json
    assert (made["type"], made["summary"], made["ask_always"]) == (name, "{amount}", False)
    assert "already" in cli.fails(*create)
    changed = cli("authorization-details", "update", name, "--ask-always", "--summary", "", "--json").json
    assert (changed["summary"], changed["ask_always"]) == ("", True)
    assert name in cli("authorization-details", "list").out
    found = {kind["type"]: kind for kind in cli("authorization-details", "list", "--json").json}
    assert found[name]["schema"]["additionalProperties"] is False
    assert "at least one option" in cli("authorization-details", "update", name, code=2).err
    assert "Delete it?" in cli("authorization-details", "delete", name, input="n\n", code=1).out
    cli("authorization-details", "delete", name, "--yes")
    assert "There is no type" in cli.fails("authorization-details", "delete", name, "--yes")
    cli("resources", "delete", identifier, "--yes")


def test_the_commands_of_the_documents(cli: Cli, tmp_path: Path) -> None:
    """docs/authorization-requests.md"""
    text = (Path(__file__).parents[2] / "docs" / "authorization-requests.md").read_text(encoding="utf-8")
    (schema,) = re.findall(r"```json\n(\{\n  \"type\": .*?)```", text, re.DOTALL)
    (commands,) = re.findall(r"```sh\n(idp authorization-details.*?)```", text, re.DOTALL)
    (tmp_path / "payment.json").write_text(schema)
    name, resource = ids.random_token()[:8], f"https://{ids.random_token()[:8].lower()}.example".replace("_", "-")
    cli("resources", "create", resource, "--name", "The bank")
    client_id = cli("clients", "create", "--name", "A", "--redirect-uri", URI).out.split()[1]
    values = {"payment_initiation": name, "https://bank.example.com": resource, "my-app": client_id}
    for line in commands.replace("\\\n", " ").strip().split("\n"):
        words = [
            values.get(word, word).replace("payment.json", str(tmp_path / "payment.json")) for word in shlex.split(line)
        ]
        assert words[0] == "idp"
        cli(*words[1:])
    assert cli("clients", "show", client_id, "--json").json["authorization_details_types"] == [name]
    cli("resources", "delete", resource, "--yes")


async def test_the_commands_of_the_document_about_responses(cli: Cli, make_user: MakeUser, tmp_path: Path) -> None:
    """Each is run as it is printed, with another client, file and subject."""
    text = (Path(__file__).parents[2] / "docs" / "responses.md").read_text(encoding="utf-8").replace("\\\n", "")
    commands = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    client_id = cli("clients", "create", "--name", "Shop", "--redirect-uri", URI, "--json").json["client_id"]
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [jose.generate("ES256").public_jwk | {"use": "enc", "alg": "ECDH-ES"}]}))
    alice = await make_user()
    for command in commands:
        words = [{"shop": client_id, "keys.json": str(keys)}.get(word, word) for word in shlex.split(command)]
        environment = dict(word.split("=") for word in words if word.startswith("IDP_"))
        arguments = words[len(environment) + 1 :]
        if arguments[:2] == ["users", "identify"]:
            client = await find_client(client_id)
            assert client is not None
            arguments[2] = subjects.subject(client, alice.id)
            assert alice.email in cli(*arguments).out
        else:
            assert cli(*arguments, **environment).out
    row = await stored(client_id)
    assert row["subject_type"] == "pairwise"
    assert row["id_token_encrypted_response_enc"] == "A128CBC-HS256"
    assert row["introspection_signed_response_alg"] == "ES256"
    assert row["response_types"] == ["code", "code id_token"]
    assert len(commands) == 5


async def test_the_commands_of_the_document_about_sessions(cli: Cli) -> None:
    text = (Path(__file__).parents[2] / "docs" / "session-management.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ idp (.*)$", text, re.MULTILINE)
    uri = "https://app.example.com/callback"
    client_id = cli("clients", "create", "--name", "App", "--redirect-uri", uri, "--json").json["client_id"]
    for command in commands:
        assert cli(*({"my-app": client_id}.get(word, word) for word in shlex.split(command))).out
    row = await stored(client_id)
    assert row["frontchannel_logout_uri"] == "https://app.example.com/signed-out"
    assert row["frontchannel_logout_session_required"] is True
    assert len(commands) == 2


async def test_the_document_about_profiles(cli: Cli, tmp_path: Path) -> None:
    """The script makes the key, the commands register it, and the example fails as it says; with other ids."""
    text = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    cli.settings["IDP_CLIENT_CERTIFICATE_HEADER"] = "nginx"
    unique = ids.random_token()[:8]
    values = {
        "jwks.json": str(tmp_path / "jwks.json"),
        "bank-app": f"app-{unique}",
        "bank-service": f"service-{unique}",
    }
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in "".join(blocks).strip().split("\n"):
        words = [values.get(word, word) for word in shlex.split(line)]
        assert words[0] == "idp"
        assert cli(*words[1:]).out
    assert len(blocks) == 2
    ((command, answer),) = re.findall(r"^\$ idp (.*)\n(.*)$", text, re.MULTILINE)
    assert f"Error: {cli.fails(*(values.get(word, word) for word in shlex.split(command)))}" == answer
    app, service = await stored(values["bank-app"]), await stored(values["bank-service"])
    assert [key["kid"] for key in app["jwks"]["keys"]] == ["2026-1"]
    assert (app["dpop_bound_access_tokens"], app["require_pushed_authorization_requests"]) == (True, True)
    assert (service["tls_client_certificate_bound_access_tokens"], service["redirect_uris"]) == (True, [])
    for words in re.findall(r"`idp (clients update [^`]*|clients profiles)`", text):
        cli(*shlex.split(words.replace("bank-app", values["bank-app"])))
    assert (await stored(values["bank-app"]))["require_signed_request_object"]
    assert "It requires" in cli("clients", "profiles").out
    rows = cli("clients", "profiles", "--json").json
    assert {row["profile"] for row in rows} == set(PROFILES)
