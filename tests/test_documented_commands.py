"""Every block of code in a document is valid, and its commands exist with the options that they have.

:data:`RUN_BY` names the test that runs the commands of each page.
"""

import ast
import importlib
import itertools
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import rich_click as click
import yaml

from idp.cli.main import ALIASES, COMMANDS
from tests.support.routes import routes

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "tests" / "README.md"])
#: The test that runs the commands of each page.
RUN_BY = {
    "CONTRIBUTING.md": "tests/test_repository.py",
    "README.md": "tests/clients/test_readme.py",
    "docs/access-policy.md": "tests/cli/test_access.py",
    "docs/attributes.md": "tests/cli/test_attributes.py",
    "docs/authorization-requests.md": "tests/cli/test_clients.py",
    "docs/backup-and-restore.md": "tests/outage/test_restore.py",
    "docs/branding.md": "tests/cli/test_branding.py",
    "docs/ciba.md": "tests/oauth/ciba/test_documents.py",
    "docs/claims.md": "tests/cli/test_claims.py",
    "docs/clients.md": "tests/clients/test_client_page.py",
    "docs/configuration-as-files.md": "tests/cli/test_config.py",
    "docs/device.md": "tests/clients/test_device.py",
    "docs/doctor.md": "tests/doctor/test_examination.py",
    "docs/enterprise-authorization.md": "tests/cli/test_id_jag.py",
    "docs/groups-and-roles.md": "tests/cli/test_directory.py",
    "docs/import.md": "tests/accounts/test_import_recipes.py",
    "docs/install.md": "tests/install/test_wheel.py",
    "docs/ldap.md": "tests/cli/test_upstreams_ldap.py",
    "docs/mcp.md": "tests/cli/test_clients.py",
    "docs/metrics.md": "tests/infra/test_metrics.py",
    "docs/migrate-from-auth0.md": "tests/migration/test_pages.py",
    "docs/migrate-from-keycloak.md": "tests/migration/test_pages.py",
    "docs/migrations.md": "tests/infra/db/test_migrations.py",
    "docs/organizations.md": "tests/cli/test_organizations.py",
    "docs/profiles.md": "tests/cli/test_clients.py",
    "docs/provisioning.md": "tests/cli/test_upstreams.py",
    "docs/registration.md": "tests/oauth/clients/dynamic/test_documents.py",
    "docs/responses.md": "tests/cli/test_clients.py",
    "docs/scaling.md": "tests/infra/db/test_distribution.py",
    "docs/session-management.md": "tests/cli/test_clients.py",
    "docs/token-exchange.md": "tests/clients/test_token_exchange.py",
    "docs/token-hook.md": "tests/oauth/token_hook/test_documents.py",
    "docs/tracing.md": "tests/infra/test_tracing.py",
    "docs/troubleshooting.md": "tests/trace/test_troubleshooting.py",
    "docs/tutorial.md": "tests/clients/test_tutorial.py",
    "docs/trusted-issuers.md": "tests/oauth/token/test_jwt_bearer.py",
    "docs/upgrades.md": "tests/rehearsal/test_page.py",
} | {
    f"docs/{name}.md": "tests/site/test_commands_of_pages.py"
    for name in (
        "admin-api", "audit", "bulk-operations", "events", "first-party-apps", "logout", "mail", "migrate-from-cognito",
        "migrate-from-firebase", "migrate-from-supabase", "operations", "outbound-scim", "rotate-keys", "scim",
        "upstreams", "workload-identity",
    )
}  # fmt: skip
#: Pages whose commands are checked here only, and why.
CHECKED_ONLY = {
    "docs/performance.md": "they measure for an hour; tests/bench run them small",
    "docs/systemd.md": "they need systemd as the first process; tests/deploy/test_systemd.py reads the unit",
}
#: Programs of the system in commands. `curl` and `idp` are checked further.
PROGRAMS = {
    ".venv/bin/python", "/opt/idp/bin/pip", "aws", "bin/kc.sh", "cat", "cp", "createdb", "curl", "docker", "dropdb",
    "export", "firebase", "gh", "grep", "helm", "idp-command", "journalctl", "jq", "kubectl", "make", "npm", "openssl",
    "pg_dump", "pg_restore", "pip", "pipx", "psql", "python3", "sudo", "systemctl", "tutorial/bin/granian",
    "tutorial/bin/pip", "uv",
}  # fmt: skip
#: The hosts of this server in examples. Two pages have two servers.
HOSTS = {"id.example.com", "localhost:8000", "login.notes.example"}
_WORD = r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s;|&()<>'"\\])+"""
_TOKEN = re.compile(rf"(?P<comment>\#.*)|[<>]+ *{_WORD}|(?P<end>[;&|()\n])|(?P<word>{_WORD})")
_BLOCK = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of code, with the line of the page in which it begins."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        indent, language, body = found.groups()
        body = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
        yield Block(page.relative_to(ROOT).as_posix(), text.count("\n", 0, found.start()) + 1, language, body)


BLOCKS = [block for page in PAGES for block in blocks(page)]


def script(block: Block) -> str:
    """Return the commands of a block as a script of a shell: those after a prompt, or all of them."""
    if block.language == "sh":
        return block.text
    lines = iter(block.text.splitlines())
    found = []
    for line in lines:
        if line.startswith("$ "):
            found.append(line[2:])
            while found[-1].endswith("\\"):
                found.append(next(lines))
    return "\n".join(found)


def commands(block: Block) -> Iterator[list[str]]:
    """Return the words of each command, also of those in pipes, without variables before it and redirections."""
    words: list[str] = []
    for found in _TOKEN.finditer(script(block).replace("\\\n", " ") + "\n"):
        if found["word"]:
            words += shlex.split(found["word"]) if words or not re.match(r"\w+=", found["word"]) else []
        elif found["end"] and words:
            yield words
            words = []


def check_idp(words: list[str]) -> None:
    """Raises: click.UsageError: there is no such command or option, or a required one is missing."""
    name, *rest = itertools.dropwhile(lambda word: word == "--debug", words)
    if name in ("--version", "--help"):
        return
    if name not in COMMANDS | ALIASES:
        raise click.UsageError(f"There is no command {name}.")
    module, _, attribute = (COMMANDS | ALIASES)[name][1].partition(":")
    command, context = getattr(importlib.import_module(module), attribute), None
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        context = click.Context(command, context, name)
        name, command, rest = command.resolve_command(context, rest)
    context = click.Context(command, context, name)
    if "--help" in rest:
        return
    given, left, _ = command.make_parser(context).parse_args(rest)
    if left:
        raise click.UsageError(f"Too many arguments: {left}.")
    # A value that was not given is a mark of click, which is neither a text nor a list.
    values = {name for name, value in given.items() if isinstance(value, str | list | tuple) and value}
    missing = [param.name for param in command.params if param.required and param.name not in values]
    if missing:
        raise click.UsageError(f"Without {', '.join(map(str, missing))}.")
    for param in command.params:
        if isinstance(param.type, click.Choice) and (value := given.get(param.name)) is not None:
            for each in [value] if isinstance(value, str) else value:
                param.type.convert(each, param, context)
    if isinstance(command, click.Group) and not command.invoke_without_command:
        raise click.UsageError(f"{name} needs a command.")


def check_curl(words: list[str], known: list[re.Pattern[str]]) -> None:
    """Check that the path is one of this server, if the URL is."""
    for word in words:
        url = urlsplit(word.replace("$API", "https://id.example.com/admin/api/v1"))
        if url.netloc in HOSTS:
            assert any(path.fullmatch(url.path or "/") for path in known), word


@pytest.fixture(scope="module")
def known() -> list[re.Pattern[str]]:
    """The paths of this server."""
    return [re.compile(re.sub(r"\{[^}]+\}", "[^/]+", route.path)) for route in routes(dev=True)]


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.language], ids=str)
def test_a_block_without_a_language_has_no_commands(block: Block) -> None:
    words = {line.split(" ")[0] for line in block.text.splitlines()}
    assert words & {"$", "idp", *PROGRAMS} == set(), "Begin the block with ```console, and each command with $."


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in ("console", "sh")], ids=str)
def test_commands_exist(block: Block, known: list[re.Pattern[str]]) -> None:
    subprocess.run(["bash", "-n"], input=script(block), text=True, check=True, capture_output=True)
    for program, *words in commands(block):
        if program in ("idp", ".venv/bin/idp"):
            check_idp(words)
        else:
            assert program in PROGRAMS, program
            if program == "curl":
                check_curl(words, known)


@pytest.mark.parametrize(
    "words",
    ["nothing", "clients", "clients none", "clients create --nane x", "clients create", "users import",
     "users import a b", "clients create --type wep --name x"],
)  # fmt: skip
def test_a_command_that_does_not_exist_is_found(words: str) -> None:
    with pytest.raises(click.UsageError):
        check_idp(words.split())


def test_commands_are_found_in_pipes() -> None:
    block = Block("x", 1, "console", "$ A=1 idp x --y 'a | b' > f; cat f | jq . \\\n  -r # c\noutput | no\n$ idp z\n")
    assert list(commands(block)) == [["idp", "x", "--y", "a | b"], ["cat", "f"], ["jq", ".", "-r"], ["idp", "z"]]


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language in ("json", "python", "toml", "yaml")], ids=str
)
def test_code_is_valid(block: Block) -> None:
    match block.language:
        case "json":
            json.loads(block.text)
        case "python":
            ast.parse(block.text)
        case "toml":
            tomllib.loads(block.text)
        case "yaml":
            assert list(yaml.safe_load_all(block.text))


def test_the_commands_of_every_page_are_run() -> None:
    with_commands = {block.page for block in BLOCKS if block.language in ("console", "sh")}
    assert with_commands == RUN_BY.keys() | CHECKED_ONLY.keys(), "Run the commands in a test, and name it in RUN_BY."
    assert RUN_BY.keys() & CHECKED_ONLY.keys() == set()


@pytest.mark.parametrize(("page", "test"), RUN_BY.items())
def test_the_test_of_a_page_names_it(page: str, test: str) -> None:
    assert Path(page).name in (ROOT / test).read_text()
