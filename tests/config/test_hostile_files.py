"""Files that are broken, contradict themselves or attack: each is refused with its place, and changes nothing."""

import os
import re
import time
from pathlib import Path

import pytest

from idp.admin.built_in import build_in
from idp.config import planning
from idp.config.document import load, parse
from idp.config.errors import ConfigError, UnknownNameError
from idp.config.kinds.base import Reference
from idp.config.references import InvalidReferenceError, resolve
from idp.config.syntax import MAX_BYTES
from idp.infra.db.engine import fetch
from idp.settings import settings
from tests.support.configuration import apply, read

pytestmark = pytest.mark.usefixtures("secrets")

CLIENT = "clients:\n  - client_id: a\n    client_name: A\n    token_endpoint_auth_method: none\n"
URI = "    redirect_uris: [https://a.example/]\n"
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


def refused(content: str | bytes) -> str:
    """Read a whole file that must be refused. Returns the problems."""
    with pytest.raises(ConfigError) as caught:
        parse({"a.yaml": content if isinstance(content, bytes) else content.encode()})
    for line in caught.value.description.splitlines():
        assert re.match(r"[^:]+:\d+:\d+: .*[.?]$", line), line
    return caught.value.description


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB, "a.yaml:1:4: Anchors and aliases are not accepted."),
        ("version: 1\nclients: !!python/object/apply:os.system [id]\n", "a.yaml:2:10: Tags are not accepted."),
        ("version: 1\nclients: !x\n", "a.yaml:2:10: Tags are not accepted."),
        ("[" * 10_000, "a.yaml:1:33: This is nested deeper than 32 levels."),
        (b"a" * (MAX_BYTES + 1), "a.yaml:1:1: The file is larger than 2 MiB."),
        (b"version: 1\nx: \0", "a.yaml:2:1: The file has a NUL character."),
        (b"version: 1\nx: \xff", "a.yaml:2:1: The file is not UTF-8."),
        ('version: 1\nx: "\\0"', "a.yaml:2:4: The text has a character that cannot be stored."),
        ("version: 1\nx: \x07", "a.yaml:1:1: The file has a character that YAML does not allow."),
        ("version: 1\n---\nversion: 1\n", "a.yaml:2:1: A file has one document."),
        ("", "a.yaml:1:1: The file is empty."),
        ("- a", "a.yaml:1:1: The file must be a mapping, beginning with version: 1."),
        ("clients: []", "a.yaml:1:1: The file must have version: 1."),
        ("version: 2", "a.yaml:1:10: The file must have version: 1."),
        ("version: 1\nclient: []", "a.yaml:2:1: There is no section client. Is clients meant?"),
        ("version: 1\nclients: {}", "a.yaml:2:10: clients must be a list."),
        ("version: 1\nclients: [x]", "a.yaml:2:11: An entry of clients must be a mapping."),
        ("version: 1\nclients: []\nclients: []", "a.yaml:3:1: clients is here twice. The first is in line 2."),
        ("version: 1\nclients:\n  - {", "a.yaml:4:1: Did not find expected node content."),
        (f"version: {'9' * 5000}", "a.yaml:1:10: The number is too long. Put text into quotes."),
        ("version: 1\n? [a]\n: b", "a.yaml:2:3: A key must be text."),
    ],
)
def test_what_is_no_document(content: str | bytes, said: str) -> None:
    assert refused(content) == said


@pytest.mark.parametrize(
    "content",
    [
        f"version: 1\n{CLIENT}{URI}    admin_role: '{' - at `$' * 100_000}'\n",
        f"version: 1\ngroups: [{{name: {'a' * 1_900_000}}}]\n",
        "version: 1\n" + "".join(f"k{number}: 1\n" for number in range(100_000)),
        "version: 1\ngroups:\n" + "".join(f"  - {{nam: g{number}}}\n" for number in range(100_000)),
    ],
    ids=["a value like a path", "a long text", "sections", "entries"],
)
def test_a_large_file_is_refused_quickly(content: str) -> None:
    """Before, each of them took minutes of processor time, quadratic in its size or for each of its errors."""
    before = time.process_time()
    assert 0 < len(refused(content).splitlines()) <= 50
    assert time.process_time() - before < 10


def test_errors_do_not_control_a_terminal() -> None:
    assert "\x1b" not in refused('version: 1\n"\\e]0;owned\\a": []\n')
    with pytest.raises(ConfigError) as caught:
        read('groups:\n  - {name: a, "\\u202e": b}\n', file="\x1b[2Ja.yaml")
    assert caught.value.description.isprintable()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{CLIENT}    redirect_uri: x\n", "6:5: There is no field redirect_uri. Is redirect_uris meant?"),
        (f"{CLIENT}    redirect_uris: x\n", "6:20: Expected array, got str."),
        (f"{CLIENT}    redirect_uris: [1]\n", "6:21: Expected str, got int."),
        (f"{CLIENT}    require_pkce: no\n", "6:19: Expected bool, got str."),
        (f"{CLIENT}    redirect_uris: ['javascript:alert(1)']\n", "3:5: A redirect URI"),
        (f"{CLIENT}    redirect_uris: []\n", "6:5: redirect_uris is needed"),
        (f"{CLIENT}{URI}    client_secret: {{env: A, file: b}}\n", "7:5: client_secret is for an object that has none"),
        ("clients:\n  - {client_id: a}\n", "3:5: Object missing required field client_name."),
        ("clients:\n  - {client_id: 'a b', client_name: A}\n", "3:6: client_id must be up to 100 letters"),
        ("groups:\n  - {name: 'a\u202eb'}\n", "3:6: The name must be one line"),
        ("groups:\n  - {name: 'p\u0430ypal'}\n", "3:6: The name mixes letters"),
        ("upstreams:\n  - {id: x, name: X, issuer: 'http://x', client_id: a, rules: [{claim: a, equls: b}]}\n",
         "There is no field equls. Is equals meant?"),
        ("claim_mappings:\n  - {client_id: a, mappings: [{claim: a, source: {kind: nothing}, places: [id_token]}]}\n",
         "Invalid value 'nothing'"),
    ],
)  # fmt: skip
async def test_what_is_no_entry(db: str, text: str, said: str) -> None:
    assert said in (await _refused_by_plan(text))


async def _refused_by_plan(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        await planning.make(read(text))
    return caught.value.description


def test_all_problems_are_named_at_once() -> None:
    problems = refused("version: 1\ngroups:\n  - {nam: a}\n  - {name: ''}\nroles:\n  - {name: 1}\n").splitlines()
    assert [line.partition(" ")[0] for line in problems] == ["a.yaml:3:6:", "a.yaml:4:6:", "a.yaml:6:12:"]


def test_a_key_is_there_once_in_all_files() -> None:
    files = {"a.yaml": b"version: 1\ngroups:\n  - name: Staff\n", "b.yaml": b"version: 1\ngroups: [{name: STAFF}]\n"}
    with pytest.raises(ConfigError, match=r"b.yaml:2:10: STAFF of groups is here twice. The first is at a.yaml:3."):
        parse(files)


def test_two_organizations_do_not_claim_one_domain() -> None:
    text = (
        "organizations:\n  - {slug: a, name: A, domains: [x.example]}\n  - {slug: b, name: B, domains: [X.example]}\n"
    )
    with pytest.raises(ConfigError, match=r"a.yaml:4:5: The domain x.example is also at a.yaml:3."):
        read(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        load([str(tmp_path / "none.yaml"), str(tmp_path / "empty")])
    assert [problem.text for problem in caught.value.problems] == [
        "The folder has no files *.yaml.",
        "The file cannot be read: No such file or directory.",
    ]


def test_folders_are_read_without_what_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may be hidden itself. The files of a mounted ConfigMap are links into a hidden folder."""
    folder = tmp_path / ".site"
    (folder / "..data").mkdir(parents=True)
    (folder / "below").mkdir()
    (folder / "..data" / "a.yaml").write_text("version: 1\ngroups: [{name: A}]\n")
    (folder / "a.yaml").symlink_to("..data/a.yaml")
    (folder / "below" / "b.yml").write_text("version: 1\ngroups: [{name: B}]\n")
    (folder / "notes.txt").write_text("no YAML: [")
    monkeypatch.chdir(folder / "below")
    for name in (str(folder), "..", str(folder / "a.yaml")):
        found = [item.entry.name for item in load([name]).items["groups"]]
        assert found == (["A"] if name.endswith("yaml") else ["A", "B"])


@pytest.mark.parametrize("name", ["/proc/self/environ", "/dev/stdin", "environ", "pipe", "folder"])
def test_a_secret_is_a_file(tmp_path: Path, name: str) -> None:
    """Whoever writes the file could otherwise have the master key sent to a receiver of theirs, or block the run."""
    (tmp_path / "environ").symlink_to("/proc/self/environ")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises((InvalidReferenceError, UnknownNameError)):
        resolve(Reference(file=str(tmp_path / name)))


def test_a_setting_is_no_secret_of_an_object() -> None:
    for name in ("IDP_MASTER_KEY", "idp_master_key", "IDP_DATABASE_URL"):
        with pytest.raises(InvalidReferenceError, match="is a setting of idp"):
            resolve(Reference(env=name))


RELEASED = "type: string, label: {default: A}, scope: x, claim: y"
#: Entries that only the database refuses; each comes after one that it would accept.
REFUSED = {
    "an unknown group": ("access_policies:\n  - {client_id: a, groups: [Nobody]}\n", "8:29: There is no group Nobody."),
    "an unknown role": ("groups:\n  - {name: G, roles: [{name: Nobody}]}\n", "8:30: There is no role Nobody."),
    "an unknown parent": ("groups:\n  - {name: G, parent: Nobody}\n", "8:23: There is no group Nobody."),
    "an unknown client": ("roles:\n  - {name: R, client_id: nobody}\n", "There is no such client."),
    "an unknown organization": ("roles:\n  - {name: R, organization: nobody}\n", "There is no organization nobody."),
    "a protected claim": (
        "claim_mappings:\n  - {client_id: a, mappings: [{claim: iss, source: {kind: groups}, places: [id_token]}]}\n",
        "This claim has a meaning of its own",
    ),
    "a claim in two attributes": (
        f"attributes:\n  - {{name: one, {RELEASED}}}\n  - {{name: two, {RELEASED}}}\n",
        "Another attribute is released in this claim.",
    ),
    "a cycle of groups": (
        "groups:\n  - {name: A, parent: B}\n  - {name: B, parent: A}\n",
        "These lead back to where they begin",
    ),
    "a cycle of roles": (
        "roles:\n  - {name: A, contains: [{name: B}]}\n  - {name: B, contains: [{name: A}]}\n",
        "These lead back to where they begin",
    ),
    "a missing secret": (
        "  - {client_id: b, client_name: B, redirect_uris: ['https://b.example/']}\n",
        "7:5: client_secret is missing.",
    ),
    "a short secret": (
        "webhooks:\n  - {url: 'https://a.example/', kinds: ['*'], secret: {env: WEB_SECRET}}\n",
        "The secret must be whsec_",
    ),
    "no secret": ("webhooks:\n  - {url: 'https://a.example/', kinds: ['*']}\n", "secret is missing"),
    "an unset variable": (
        "webhooks:\n  - {url: 'https://a.example/', kinds: ['*'], secret: {env: NOT_SET}}\n",
        "The environment variable NOT_SET is not set.",
    ),
    "our own resource server": (
        f"resource_servers:\n  - {{identifier: '{settings().issuer}/admin/api', name: X}}\n",
        "This identifier is our own.",
    ),
    "a folder as a secret": (
        "webhooks:\n  - {url: 'https://a.example/', kinds: ['*'], secret: {file: /}}\n",
        "The file / cannot be read: Is a directory.",
    ),
}


async def test_nothing_is_changed_by_what_is_refused(own_database: str) -> None:
    """A client that is fine stands before the entry that is not."""
    build_in()
    before = await _dump()
    for name, (text, said) in REFUSED.items():
        with pytest.raises(ConfigError) as caught:
            await apply(read(f"{CLIENT}{URI}{text}"))
        assert said in caught.value.description, name
        assert await _dump() == before, name


async def _dump() -> dict[str, list[str]]:
    """Return every row of every table, as text."""
    tables = await fetch("SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return {
        table["name"]: [
            row["text"] for row in await fetch(f"SELECT t::text AS text FROM {table['name']} AS t ORDER BY 1")
        ]
        for table in tables
    }
