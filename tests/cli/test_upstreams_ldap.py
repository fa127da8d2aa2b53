"""`idp upstreams` for directories."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from idp.federation.registry import load_stored
from tests.cli.conftest import Cli
from tests.conftest import MASTER_KEY
from tests.support.isolated import own_database
from tests.support.server import LOOPBACK
from tests.support.slapd import BIND_DN, BIND_PASSWORD, PEOPLE, Slapd, group, needs_slapd, person

__all__ = ["own_database"]

pytestmark = needs_slapd


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    slapd = Slapd(tmp_path_factory.mktemp("cli-slapd"), person("ada", "of Ada", employeeType="active"))
    slapd.modify(group("staff", "ada"))
    yield slapd
    slapd.stop()


@pytest.fixture
def cli(tmp_path: Path, own_database: str, directory: Slapd) -> Cli:
    (tmp_path / "ca.pem").write_text(directory.ca)
    (tmp_path / "bind-password.txt").write_text(f"{BIND_PASSWORD}\n")
    return Cli(tmp_path, {"IDP_DATABASE_URL": own_database, "IDP_MASTER_KEY": MASTER_KEY} | LOOPBACK)


def add(cli: Cli, directory: Slapd, *more: str) -> None:
    cli(
        "upstreams", "add", "--kind", "ldap", "--id", "staff", "--bind-dn", BIND_DN, "--bind-password-file",
        "bind-password.txt", "--ca-file", "ca.pem", "--option", f"url={directory.ldaps}", "--option",
        f"base_dn={PEOPLE}", *more,
    )  # fmt: skip


async def test_the_commands_of_the_document(cli: Cli, directory: Slapd) -> None:
    """docs/ldap.md, with the URL of this directory in place of those of the example."""
    text = (Path(__file__).parents[2] / "docs" / "ldap.md").read_text().replace("\\\n", " ")
    text = text.replace("ldaps://ldap1.example.com ldaps://ldap2.example.com", f"{directory.ldaps} ldaps://localhost:1")
    shown = []
    for command in re.findall(r"^\$ idp (.*)$", text, re.MULTILINE):
        if command.startswith("upstreams test corp"):
            # There is no such domain here.
            assert "No server" in cli(*shlex.split(command), code=1).err
        else:
            shown.append(cli(*shlex.split(command)).out)
    assert "The groups are cn=staff" in "".join(shown)
    stored = {one.id: one for one in await load_stored()}
    assert stored["staff"].options["groups"] == "member"
    assert stored["staff"].options["email_domains"] == "example.com"
    assert stored["corp"].issuer == "ldap:corp:objectguid"
    assert "The groups are staff." in cli("upstreams", "test", "staff", "--user", "ada").out


def test_step_by_step(cli: Cli, directory: Slapd) -> None:
    add(cli, directory)
    shown = cli("upstreams", "test", "staff", "--user", "Ada", "--ask-password", input="of Ada\n").out
    for words in (
        directory.ldaps,
        "TLS",
        BIND_DN,
        PEOPLE,
        f"uid=ada,{PEOPLE}",
        "ada@example.com",
        "password is accepted",
    ):
        assert words in shown
    assert BIND_PASSWORD + "\n" not in shown
    assert "of Ada" not in shown
    failed = cli("upstreams", "test", "staff", "--user", "ada", "--ask-password", input="of Bob\n", code=1)
    assert "invalid credentials (49)" in failed.err
    assert "no user bob" in cli("upstreams", "test", "staff", "--user", "bob", code=1).err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--option", "ca="), "Set the option ca"),
        (("--option", "url=ldaps://localhost:1"), "Check host and port"),
        (("--bind-dn", "cn=nobody,dc=example,dc=com"), "Check the bind DN"),
        (("--option", "base_dn=ou=nowhere,dc=example,dc=com"), "Check the option base_dn"),
        (("--option", "user_filter=(title=none)"), "Check the option user_filter"),
    ],
)
def test_what_fails_and_how_to_fix_it(cli: Cli, directory: Slapd, options: tuple[str, ...], words: str) -> None:
    add(cli, directory)
    if not {"ca=", "url=ldaps://localhost:1"}.isdisjoint(options):
        # Another server, or another proof of it, needs the password again.
        assert "another server" in cli.fails("upstreams", "update", "staff", *options)
        options = (*options, "--bind-password-file", "bind-password.txt")
    cli("upstreams", "update", "staff", *options)
    failed = cli("upstreams", "test", "staff", code=1)
    assert words in failed.out + failed.err


def test_a_host_that_must_be_allowed(cli: Cli, directory: Slapd) -> None:
    add(cli, directory)
    failed = cli("upstreams", "test", "staff", code=1, IDP_OUTBOUND_ALLOWED_HOSTS="example.com")
    assert "IDP_OUTBOUND_ALLOWED_HOSTS" in failed.out


async def test_options_are_changed_one_by_one(cli: Cli, directory: Slapd) -> None:
    add(cli, directory)
    cli("upstreams", "update", "staff", "--option", "group_name=cn")
    (stored,) = await load_stored()
    assert stored.options == {"url": directory.ldaps, "base_dn": PEOPLE, "ca": directory.ca.strip(), "group_name": "cn"}
    cli("upstreams", "update", "staff", "--option", "group_name=")
    (stored,) = await load_stored()
    assert "group_name" not in stored.options
    assert "id_attribute" in cli.fails("upstreams", "update", "staff", "--option", "id_attribute=uid")
    assert cli.fails("upstreams", "update", "staff", "--option", "base_dn=")


def test_who_is_gone(cli: Cli, directory: Slapd) -> None:
    """docs/ldap.md runs it too; here it has no linked users."""
    add(cli, directory)
    assert cli("upstreams", "check", "staff", "--json").json == {
        "linked": 0, "gone": 0, "disabled": 0, "enabled": 0, "stopped": False
    }  # fmt: skip
    assert "linked" in cli("upstreams", "check", "staff", "--apply").out
    assert "no directory" in cli.fails("upstreams", "check", "other")


def test_without_a_bind_dn(cli: Cli, directory: Slapd) -> None:
    """It searches as nobody, which this directory does not allow."""
    cli("upstreams", "add", "--kind", "ldap", "--option", f"url={directory.ldaps}", "--option", f"base_dn={PEOPLE}",
        "--ca-file", "ca.pem")  # fmt: skip
    failed = cli("upstreams", "test", "ldap", code=1)
    assert "The bind as nobody is accepted." in failed.out
    assert "insufficient access rights" in failed.err
    cli("upstreams", "add", "--id", "acme", "--issuer", "https://login.example", code=2)
    cli("upstreams", "test", "ldap", "--ask-password", code=1)
