"""`idp branding`."""

import json
import re
import secrets
import shlex
from pathlib import Path

import pytest

from idp.branding import service
from idp.branding.models import SERVER, Owner
from idp.oauth.clients.registration import register_client
from tests.cli.conftest import Cli
from tests.support.directory import an_organization
from tests.support.isolated import own_database

__all__ = ["own_database"]


@pytest.fixture
def logo(tmp_path: Path) -> str:
    path = tmp_path / "logo.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + secrets.token_bytes(20))
    return str(path)


async def test_the_branding_of_an_organization(cli: Cli, logo: str) -> None:
    slug = (await an_organization()).slug
    of = ("--organization", slug)
    assert "There is no branding." in cli("branding", "show", *of).out
    options = ("--color", "#8A1C4A", "--display-name", "Acme Ltd", "--logo", logo, "--way", "passkey")
    branding = json.loads(cli("branding", "set", *of, *options, "--json").out)
    assert (branding["color"], branding["display_name"], branding["ways"]) == ("#8a1c4a", "Acme Ltd", ["passkey"])
    assert len(branding["logo"]) == 64
    assert json.loads(cli("branding", "show", *of, "--json").out) == branding
    assert "Acme Ltd" in cli("branding", "show", *of).out
    # What is not named stays.
    branding = json.loads(cli("branding", "set", *of, "--font", "serif", "--clear", "display-name", "--json").out)
    assert (branding["font"], branding["color"], branding.get("display_name")) == ("serif", "#8a1c4a", None)
    assert "hard to read" in cli.fails("branding", "set", *of, "--color", "#ffee00")
    assert "no such values: nothing" in cli.fails("branding", "set", *of, "--clear", "nothing")
    assert "Removed." in cli("branding", "remove", *of).out
    assert "no branding" in cli.fails("branding", "remove", *of)
    versions = json.loads(cli("branding", "history", *of, "--json").out)
    assert [each["branding"] and each["branding"].get("font") for each in versions] == [None, "serif", None]
    assert versions[0]["actor"].startswith("cli:")
    assert versions[1]["id"] in cli("branding", "history", *of).out
    assert json.loads(cli("branding", "restore", versions[1]["id"], *of, "--json").out) == branding


async def test_that_of_a_client(cli: Cli) -> None:
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/callback"])
    cli("branding", "set", "--client", client.client_id, "--corners", "square")
    assert (await service.branding_of(Owner(client_id=client.client_id))).corners == "square"
    assert "no such client" in cli.fails("branding", "set", "--client", "none", "--corners", "square")


async def test_the_commands_of_the_document(cli: Cli, own_database: str) -> None:
    """docs/branding.md, with another client and another organization."""
    text = (Path(__file__).parents[2] / "docs" / "branding.md").read_text()
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/callback"])
    values = {"web": client.client_id, "acme": (await an_organization()).slug}
    commands = re.findall(r"^\$ idp (branding .*)$", text, re.MULTILINE)
    for command in commands:
        cli(*(values.get(word, word) for word in shlex.split(command)), IDP_DATABASE_URL=own_database)
    assert len(commands) == 5
    assert (await service.branding_of(SERVER)).display_name == "Zorgbank"
