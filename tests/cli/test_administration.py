"""`idp admins`, `idp incident revoke`, and the options of clients and resource servers for administration."""

from tests.cli.conftest import OwnCli


async def test_admins(own_cli: OwnCli) -> None:
    cli = await own_cli()
    cli("users", "create", "a@example.com", "--generate", "--no-mail")
    assert "no user with this email" in cli.fails("admins", "add", "b@example.com")
    assert "a@example.com is owner." in cli("admins", "add", "A@example.com").out
    assert "owner already" in cli("admins", "add", "a@example.com").out
    (admin,) = cli("admins", "list", "--json").json
    assert (admin["email"], admin["role"]) == ("a@example.com", "owner")
    assert admin["granted_by"].startswith("cli:")
    assert "last owner" in cli.fails("admins", "remove", "a@example.com", "--role", "owner")
    cli("admins", "add", "a@example.com", "--role", "auditor")
    cli("admins", "remove", "a@example.com", "--role", "auditor")
    assert len(cli("admins", "list", "--json").json) == 1


async def test_incident_revoke(own_cli: OwnCli) -> None:
    cli = await own_cli()
    user = cli("users", "create", "a@example.com", "--generate", "--no-mail", "--json").json
    out = cli("incident", "revoke", "user", user["id"], "--yes").out
    assert "token families" in out
    cli("clients", "create", "--name", "X", "--type", "service", "--id", "x")
    report = cli("incident", "revoke", "client", "x", "--yes", "--json").json
    assert report["kind"] == "client"
    assert "no client with this id" in cli.fails("incident", "revoke", "client", "y", "--yes")
    (key,) = cli("keys", "list", "--json").json
    assert "Still usable" in cli("incident", "revoke", "key", key["kid"], "--yes").out
    assert "no upstream with this id" in cli.fails("incident", "revoke", "upstream", "z", "--yes")
    for kind, named, told in (
        ("user", user["id"], "of a@example.com end now"), ("client", "x", "of X end now"),
        ("key", cli("keys", "list", "--json").json[-1]["kid"], "this active RS256 key will be refused"),
    ):  # fmt: skip
        assert told in cli("incident", "revoke", kind, named, input="n\n", code=1).out
    cli("incident", "revoke", "client", "x", code=1)  # no terminal to confirm on
    assert cli("contain", "client", "x", "--yes", "--json").json["kind"] == "client"  # the older name


async def test_clients_and_resource_servers(own_cli: OwnCli) -> None:
    cli = await own_cli()
    cli("clients", "create", "--name", "X", "--type", "service", "--id", "x")
    assert "before 2020-01-01 00:00:00 UTC" in cli("clients", "not-before", "x", "--at", "2020-01-01T00:00:00").out
    assert "any client" in cli("clients", "not-before", "--all").out
    assert "in the future" in cli.fails("clients", "not-before", "x", "--at", "2999-01-01T00:00:00")
    cli("clients", "not-before", code=2)
    cli("clients", "admin-role", "x", "auditor")
    assert cli("clients", "show", "x", "--json").json["admin_role"] == "auditor"
    cli("clients", "update", "x", code=2)
    assert "no client" in cli.fails("clients", "update", "none", "--name", "N")
    assert "is deleted" in cli("clients", "delete", "x", "--yes").out
    assert "no client" in cli.fails("clients", "show", "x")
    made = cli(
        "resources", "create", "https://api.example.com", "--name", "Orders", "--network", "10.0.0.0/8",
        "--not-witnessed", "--user-agent", "PyJWT", "--json",
    ).json  # fmt: skip
    assert made["jwks_uri"].endswith(f"/jwks/{made['jwks_id']}")
    assert (made["networks"], made["witnessed"], made["user_agent"]) == (["10.0.0.0/8"], False, "PyJWT")
    assert made["jwks_uri"] in cli("resources", "list").out
    wrong = cli.fails("resources", "create", "https://b.example.com", "--name", "B", "--network", "everywhere")
    assert "networks" in wrong
    changed = cli(
        "resources", "update", made["identifier"], "--network", "", "--user-agent", "", "--witnessed", "--json"
    ).json
    assert changed == made | {"networks": [], "user_agent": None, "witnessed": True}
    assert "Stock" in cli("resources", "update", made["identifier"], "--name", "Stock", "--scope", "read").out
    assert cli("resources", "update", made["identifier"], "--scope", "", "--json").json["scope"] == ""
    assert "networks" in cli.fails("resources", "update", made["identifier"], "--network", "everywhere")
    assert "no resource server" in cli.fails("resources", "update", "https://none.example.com", "--name", "N")
    cli("resources", "update", made["identifier"], code=2)
    assert "Tokens for Stock are no" in cli("resources", "delete", "https://api.example.com", input="n\n", code=1).out
    assert "is deleted" in cli("resources", "delete", "https://api.example.com", "--yes").out
    assert cli("resources", "list", "--json").json == []


async def test_changing_a_client(own_cli: OwnCli) -> None:
    """Options that are not given keep their value; an empty value removes it."""
    cli = await own_cli()
    cli(
        "clients", "create", "--name", "X", "--id", "x", "--redirect-uri", "https://x.example.com/a",
        "--post-logout-redirect-uri", "https://x.example.com/bye", "--tos-uri", "https://x.example.com/tos",
        "--upstream", "google", "--acr", "2", "--skip-consent",
    )  # fmt: skip
    before = cli("clients", "show", "x", "--json").json
    changed = cli(
        "clients", "update", "x", "--redirect-uri", "https://x.example.com/b", "--redirect-uri",
        "https://x.example.com/c", "--post-logout-redirect-uri", "", "--tos-uri", "", "--upstream", "", "--acr", "",
        "--ask-consent", "--scope", "", "--json",
    ).json  # fmt: skip
    differs = {name for name in before if before[name] != changed[name]} - {"updated_at"}
    assert {name: changed[name] for name in differs} == {
        "redirect_uris": ["https://x.example.com/b", "https://x.example.com/c"],
        "post_logout_redirect_uris": [],
        "tos_uri": None,
        "upstreams": None,
        "default_acr_values": [],
        "skip_consent": False,
        "scope": "",
    }
    assert "must be https" in cli.fails("clients", "update", "x", "--redirect-uri", "http://x.example.com/a")
    assert cli("clients", "show", "x", "--json").json == changed
