"""An import of an Auth0 tenant, a sign-in that keeps the ``sub``, and the comparison with the old issuer."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from idp.accounts import kept_subjects
from idp.migration import configuration
from idp.migration.auth0.export import Files, read
from idp.migration.models import ExportError
from tests.cli.conftest import Cli, OwnCli
from tests.conftest import MASTER_KEY
from tests.support import auth0
from tests.support.browser import Page, open_browser
from tests.support.oauth import RelyingParty
from tests.support.server import LOOPBACK, Server
from tests.support.tokens import claims_of

DOMAIN = "acme.example"


@pytest.fixture
async def served(own_cli: OwnCli, tmp_path: Path) -> AsyncIterator[tuple[Cli, Server]]:
    """A server with an imported tenant."""
    cli = await own_cli()
    files = auth0.write(cli.folder, DOMAIN)
    refused = cli("migrate", "auth0", *files, "--apply", code=1)
    assert refused.err == f"users.json.gz: line 3: eve@{DOMAIN}: {SUB}\n"
    assert "Users: 2 imported, 0 updated, 0 unchanged, 1 refused." in refused.out
    server = Server(
        tmp_path, IDP_DATABASE_URL=cli.settings["IDP_DATABASE_URL"], IDP_MASTER_KEY=MASTER_KEY,
        IDP_ADDRESS_LIMITS="false", **LOOPBACK,
    )  # fmt: skip
    yield cli, server
    server.kill()


SUB = "The sub is neither a UUID nor of another form that can be kept. Leave it out."


def _wiki(server: Server, http: httpx.AsyncClient) -> RelyingParty:
    wiki = RelyingParty(server.issuer, http, auth0.CLIENT_ID, auth0.CLIENT_SECRET, scope="openid profile email")
    wiki.redirect_uri, wiki.secret_in_body = "https://wiki.example/callback", True
    return wiki


async def test_a_tenant_moves(served: tuple[Cli, Server], http: httpx.AsyncClient) -> None:
    cli, server = served
    wiki = _wiki(server, http)
    async with open_browser(server.issuer) as browser:
        tokens = await wiki.tokens(browser, f"ada@{DOMAIN}")
        # Everything that says who the user is says it with the same sub.
        assert claims_of(tokens["id_token"])["sub"] == auth0.ADA
        assert claims_of(tokens["access_token"])["sub"] == auth0.ADA
        userinfo = (await wiki.userinfo(tokens["access_token"])).json()
        assert userinfo["sub"] == auth0.ADA
        assert (await wiki.introspect(tokens["access_token"]))["sub"] == auth0.ADA
        refreshed = (await wiki.refresh(tokens["refresh_token"])).json()
        assert claims_of(refreshed["id_token"])["sub"] == auth0.ADA
        # Hints and requests that name it find the user.
        assert not isinstance(await wiki.authorize(browser, prompt="none", id_token_hint=tokens["id_token"]), Page)
        requested = json.dumps({"id_token": {"sub": {"value": auth0.ADA}}})
        assert not isinstance(await wiki.authorize(browser, prompt="none", claims=requested), Page)
        other = json.dumps({"id_token": {"sub": {"value": auth0.BOB}}})
        refused = await wiki.authorize(browser, prompt="none", claims=other)
        assert getattr(refused, "parameters", {}).get("error") == "login_required"
    found = cli("users", "identify", auth0.ADA, "--json").json
    assert found["id"] == str(kept_subjects.user_id(auth0.ADA))
    cli("users", "export", "users.jsonl")
    exported = [json.loads(line) for line in (cli.folder / "users.jsonl").read_text().splitlines()]
    assert {one["sub"]: one.get("attributes") for one in exported} == {
        auth0.ADA: {"team": "blue", "teams": ["a", "b"]},
        auth0.BOB: None,
    }
    assert {one["sub"]: one.get("disabled", False) for one in exported} == {auth0.ADA: False, auth0.BOB: True}
    roles = cli("roles", "list", "--json").json
    assert [one["name"] for one in roles] == ["editor"]
    members = cli("organizations", "members", "partner", "--json").json
    assert [one["email"] for one in members] == [f"ada@{DOMAIN}"]
    # Again, with a new sub for the user whose own has no form that can be kept.
    again = cli("migrate", "auth0", *auth0.write(cli.folder, DOMAIN), "--new-sub", "--apply", "--json").json
    assert again["users"] == {"imported": 1, "updated": 0, "unchanged": 2, "refused": 0}
    assert again["configuration"]["plan"]["changes"] == []
    assert again["lost"]["The sub cannot be kept, and is a new one."] == 1
    await _compare(cli, server, tokens | {"userinfo": userinfo})


async def _compare(cli: Cli, server: Server, old: dict[str, object]) -> None:
    """The server is the old issuer, and itself: there is no difference until something is changed here."""
    sample = {name: old[name] for name in ("id_token", "access_token", "userinfo")}
    (cli.folder / "old.jsonl").write_text(json.dumps(sample) + "\n")
    here = {"IDP_ISSUER": server.issuer} | LOOPBACK
    compared = cli("migrate", "compare", "--issuer", server.issuer, "--tokens", "old.jsonl", "--json", **here).json
    assert {one["state"] for one in compared} == {"same"}
    assert {one["where"] for one in compared} == {"discovery", "keys", "id_token", "access_token", "userinfo"}
    assert [one["old"] for one in compared if one["name"] == "sub"] == [auth0.ADA] * 3
    sample = {
        "user": f"ada@{DOMAIN}", "client_id": auth0.CLIENT_ID, "scope": "openid profile orders:write",
        "id_token": {"sub": "old", "name": "Ada Lovelace", "nickname": "countess", "plan": "gold", "exp": 1},
    }  # fmt: skip
    (cli.folder / "old.jsonl").write_text(json.dumps(sample) + "\n")
    ended = cli("migrate", "compare", "--tokens", "old.jsonl", "--json", code=1, **here)
    states = {one["name"]: (one["where"], one["state"]) for one in ended.json}
    assert states["sub"] == ("id_token", "differs")
    assert states["nickname"] == ("id_token", "differs")
    assert states["plan"] == ("id_token", "missing")
    assert states["picture"] == ("id_token", "new")
    assert states["name"] == ("id_token", "same")
    assert states["orders:write"] == ("scope", "missing")
    assert "exp" not in states
    known = [text for name in ("sub", "nickname", "plan", "orders:write") for text in ("--ignore", name)]
    assert "Different or missing: 0." in cli("migrate", "compare", "--tokens", "old.jsonl", *known, **here).out
    assert cli("migrate", "compare", "--tokens", "old.jsonl", "--user", f"bob@{DOMAIN}", "--json", **here).json == []
    unknown = {"client_id": "none", "scope": "openid", "userinfo": {"sub": "auth0|1"}}
    (cli.folder / "old.jsonl").write_text(json.dumps(unknown))
    table = cli("migrate", "compare", "--tokens", "old.jsonl", code=1, **here)
    assert "Different or missing: 2." in table.out
    for text, problem in (
        ("{", "line 1"), ("[]", "line 1"), ('{"x": 1}', "line 1"), ("{}", "no client_id"),
        ('{"id_token": "opaque"}', "no JWT"),
    ):  # fmt: skip
        (cli.folder / "old.jsonl").write_text(text)
        assert problem in cli.fails("migrate", "compare", "--tokens", "old.jsonl", **here)
    assert "--issuer" in cli("migrate", "compare", code=2, **here).err


async def test_another_issuer(own_cli: OwnCli, start_server: Callable[..., Server], server: Server) -> None:
    """A second server is the old issuer. It has what this one has not."""
    cli = await own_cli()
    here = {"IDP_ISSUER": start_server().issuer} | LOOPBACK
    found = cli("migrate", "compare", "--issuer", server.issuer, "--json", code=1, **here).json
    different = {one["name"]: one for one in found if one["state"] in ("missing", "differs")}
    assert different["issuer"]["state"] == "differs"
    assert "urn:ietf:params:oauth:grant-type:token-exchange" in different["grant_types_supported"]["old"]
    assert different["registration_endpoint"]["state"] == "missing"
    # An endpoint with another URL is the same: applications read it.
    assert next(one for one in found if one["name"] == "token_endpoint")["state"] == "same"
    named = cli.fails("migrate", "compare", "--issuer", server.issuer.replace("localhost", "127.0.0.1"), **here)
    assert named.endswith("is of another issuer, or of none.")
    assert "does not answer" in cli.fails("migrate", "compare", "--issuer", "http://127.0.0.1:1", **here)


def test_a_tenant_becomes_configuration(tmp_path: Path) -> None:
    auth0.write(tmp_path, DOMAIN)
    files = Files(tenant=tmp_path / "tenant.yaml", clients=tmp_path / "clients.json")
    export = read(files, {"app_metadata.team": "team"})
    document = configuration.document(export)
    clients = {item.entry.client_name: item.entry for item in document.items["clients"]}
    assert clients.keys() == {"Wiki", "Single page", "Machine"}
    assert clients["Wiki"].scope == "openid profile email address phone offline_access orders:read"
    assert clients["Wiki"].backchannel_logout_uri == "https://wiki.example/back"
    assert clients["Single page"].redirect_uris == ("https://spa.example/",)
    assert clients["Single page"].grant_types == ("authorization_code", "refresh_token")
    assert clients["Machine"].redirect_uris == ()
    (api,) = (item.entry for item in document.items["resource_servers"])
    assert (api.identifier, api.scope, api.access_token_type) == (auth0.API, "orders:read orders:write", "JWT")
    assert api.scope_descriptions == {"orders:read": "Read"}
    assert [item.entry.id for item in document.items["upstreams"]] == ["google", "corp-okta"]
    assert [item.entry.slug for item in document.items["organizations"]] == ["partner"]
    assert export.settings == {"IDP_SESSION_LIFETIME": "604800", "IDP_SESSION_IDLE_LIFETIME": "259200"}
    notes = [(note.what, note.text) for note in export.notes]
    assert ("client Single page", "The password grant is refused. Use the authorization code flow.") in notes
    assert any("https://*.spa.example/" in text for _what, text in notes)
    assert any(what == "connection adfs" for what, _text in notes)
    assert any(what == "actions" for what, _text in notes)
    # The file of the Deploy CLI alone has no client_id.
    export = read(Files(tenant=tmp_path / "tenant.yaml"), {})
    assert "clients" not in configuration.document(export).items
    assert any("--clients" in note.text for note in export.notes)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("tenant", "a: &x 1", "tenant:1:4: Anchors"),
        ("tenant", "clients: 7", "clients: Expected array"),
        ("tenant", "clients: [{name: 7}]", "clients[0].name: Expected str"),
        ("clients", "{}", "Expected array, got object"),
        ("clients", "[", "is no valid JSON"),
        ("hashes", '{"_id": 7}', "hashes: line 1: _id: Expected object"),
        ("memberships", "\n{}", "memberships: line 2: the whole: Object missing required field"),
    ],
)
def test_a_broken_file(tmp_path: Path, name: str, text: str, problem: str) -> None:
    files = {one: tmp_path / one for one in (name, "users")}
    (tmp_path / "users").write_text("")
    (tmp_path / name).write_text(text)
    with pytest.raises(ExportError) as caught:
        read(Files(**files), {})
    assert problem in caught.value.description


def test_a_broken_list_of_users(tmp_path: Path) -> None:
    """A line that is no user is refused on its own. A file that is none is an error."""
    file = tmp_path / "users.json"
    file.write_text('{"user_id": "auth0|1"}\n{"user_id": 7}\n\n[]\n')
    found = list(read(Files(users=file), {}).people())
    assert [one.place for one in found] == [f"users.json: line {number}" for number in (1, 2, 4)]
    assert [isinstance(one.values, dict) for one in found] == [True, False, False]
    file.write_text("x" * 70_000)
    with pytest.raises(ExportError, match="longer than 64 KiB"):
        list(read(Files(users=file), {}).people())
    packed = tmp_path / "users.json.gz"
    packed.write_bytes(b"no gzip")
    with pytest.raises(ExportError, match="cannot be read"):
        list(read(Files(users=packed), {}).people())
