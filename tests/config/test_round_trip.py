"""Every field of every kind survives export and apply."""

import os
from typing import Any

import pytest

from idp.config import syntax
from idp.config.document import parse
from idp.config.export import export
from idp.config.kinds import KINDS
from idp.config.kinds.base import defaults_of, written
from tests.support.configuration import apply, everything, planned, read
from tests.support.isolated import isolated
from tests.support.postgres import Cluster

pytestmark = pytest.mark.usefixtures("accepts_certificates", "secrets")

#: Fields that the sample leaves at their default, and why.
LEFT_OUT = {
    ("clients", "sector_identifier_uri"): "it is read from another server",
    ("clients", "backchannel_user_code_parameter"): "another value is refused",
    ("clients", "request_object_encryption_alg"): "another value is refused",
    ("clients", "request_object_encryption_enc"): "another value is refused",
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.section)
def test_the_sample_has_every_field(kind: Any) -> None:
    items = everything().items[kind.section]
    named = {name for item in items for name in written(kind, item.entry)}
    missing = {name for name in kind.model.__struct_fields__ if name not in named}
    assert missing == {name for section, name in LEFT_OUT if section == kind.section}


async def test_everything_survives(own_database: str, cluster: Cluster, template: str) -> None:
    document = everything()
    await apply(document)
    exported = await export()
    stored = parse({"export": _filled(exported.text)})
    for kind in KINDS:
        wanted = {item.identity: written(kind, item.entry) for item in document.items[kind.section]}
        found = {item.identity: written(kind, item.entry) for item in stored.items[kind.section]}
        for entries in (wanted, found):
            for entry in entries.values():
                entry.pop(kind.secret, None)
        assert found == wanted
    # The same text again, and no change for it.
    assert (await export()).text == exported.text
    again = await planned(stored)
    assert (again.changes, again.unmanaged) == ([], [])
    async with isolated(await cluster.create_database(template)):
        await apply(stored)
        assert (await export()).text == exported.text
        assert (await planned(stored)).changes == []


def _filled(text: str) -> bytes:
    """Set the variables of an export to the secrets of the sample."""
    for line in text.splitlines():
        name = line.strip().removeprefix("env: ")
        if line.strip().startswith("env: "):
            kind, *_ = name.split("_")
            known = {"TOKEN": "HOOK_SECRET", "WEBHOOK": "HOOK_SECRET", "PROVISIONING": "TARGET_TOKEN"}
            known |= {"UPSTREAM": "APPLE_KEY" if name == "UPSTREAM_APPLE_SECRET" else "CORP_SECRET"}
            same = known.get(kind, "WEB_SECRET" if name == "CLIENT_WEB_SECRET" else "BACKEND_SECRET")
            os.environ[name] = os.environ[same]
    return text.encode()


async def test_what_the_services_made_is_exported(own_database: str, tmp_path: Any) -> None:
    """Sample data, which no file made."""
    from idp.dev.seed import seed

    await seed(tmp_path, "http://localhost:8000")
    exported = await export()
    assert "client_id: demo\n" in exported.text
    assert exported.variables == ["CLIENT_DEMO_SECRET", "CLIENT_DEMO_SERVICE_SECRET"]
    document = parse({"export": exported.text.encode()})
    os.environ |= dict.fromkeys(exported.variables, "s" * 40)
    assert {change.operation for change in (await planned(document)).changes} == {"update"}
    await apply(document)
    assert (await planned(document)).changes == []
    assert (await export()).text == exported.text


@pytest.mark.parametrize(
    "text", ["\x85a", "a\u2028b", "no", "0o7", "1_000", "<<", "=", "~", " a", "a: b", "# c", "\ufeffx"]
)
def test_text_is_read_as_it_was(text: str) -> None:
    assert syntax.read(syntax.write({text: [text]}).encode(), "a.yaml").plain() == {text: [text]}


async def test_two_objects_do_not_share_a_variable(own_database: str) -> None:
    """One secret would be given to both."""
    client = (
        "{{client_id: {}, client_name: A, client_secret: {{env: WEB_SECRET}}, redirect_uris: ['https://a.example/']}}"
    )
    await apply(read(f"clients: [{client.format('a-b')}, {client.format('a_b')}, {client.format('a.b')}]\n"))
    exported = await export(["clients"])
    assert exported.variables == ["CLIENT_A_B_SECRET", "CLIENT_A_B_SECRET_2", "CLIENT_A_B_SECRET_3"]


def test_defaults_are_read_from_the_models() -> None:
    assert defaults_of(KINDS[1].model)["witnessed"] is True
