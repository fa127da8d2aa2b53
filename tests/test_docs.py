"""Files, decisions and headings named in documents exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from idp.cli.clients import clients
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.profiles import PROFILES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

#: A path of the repository in code font, or the target of a link.
_PATH = re.compile(r"`((?:idp|tests|templates|docs|bench)/[\w./-]*)`")
#: A page that a docstring or a comment names.
_PAGE = re.compile(r"(?<![\w/.-])docs/[\w./-]+\.md")
_MODULE = re.compile(r"`(idp(?:\.[a-z_0-9]+)+)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def _names(page: Path) -> Iterator[str]:
    text = page.read_text()
    for path in _PATH.findall(text):
        if not (ROOT / path).exists() and path != "bench/results.json":  # written by `make bench`
            yield path
    for module in _MODULE.findall(text):
        parts = module.split(".")
        # The last part may be a name in a module.
        if not any((ROOT / Path(*parts[:n])).with_suffix(".py").exists() or (ROOT / Path(*parts[:n])).is_dir()
                   for n in (len(parts), len(parts) - 1)):  # fmt: skip
            yield module


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _broken(page: Path) -> Iterator[str]:
    for target in _LINK.findall(page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in _anchors(found.read_text())):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_named_file_exists(page: Path) -> None:
    if page.name == "CHANGELOG.md" or "\nSuperseded by [" in page.read_text():
        return  # history may name files that no longer exist
    assert list(_names(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(_broken(page)) == []


def test_pages_named_in_the_code_exist() -> None:
    named = {
        (module.relative_to(ROOT), page)
        for module in (ROOT / "idp").rglob("*.py")
        for page in _PAGE.findall(module.read_text())
    }
    assert named
    assert [(str(module), page) for module, page in sorted(named) if not (ROOT / page).exists()] == []


def test_every_package_is_on_the_map() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    packages = {path.parent.name for path in (ROOT / "idp").glob("*/__init__.py")}
    assert {name for name in packages if f"`idp/{name}/`" not in text} == set()


def test_the_front_page_lists_every_page_once() -> None:
    """The list is the navigation of the site (docs/site/build.py)."""
    listed = re.findall(r"^- \[[^]]+\]\(([\w-]+\.md)\): ", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE)
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert sorted(listed) == sorted(pages), "List the page in docs/index.md, where a reader looks for it."


def test_every_decision_is_listed_once_in_order() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"^\| \[\d{4}\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(path.name for path in folder.glob("0*.md"))


def test_the_tables_of_profiles_are_up_to_date() -> None:
    page = (ROOT / "docs" / "profiles.md").read_text()
    printed = CliRunner().invoke(clients, ["profiles", "--markdown"]).output
    tables = page.partition("<!-- idp clients profiles --markdown -->\n")[2].partition("<!-- end -->")[0]
    assert tables == printed, "Replace the tables: idp clients profiles --markdown"
    assert all(f"`{name}`" in page.partition("<!--")[0] for name in PROFILES)


def test_the_table_of_client_metadata_is_up_to_date() -> None:
    """Every member with its default, option and meaning."""
    page = (ROOT / "docs" / "clients.md").read_text()
    printed = CliRunner().invoke(clients, ["metadata", "--markdown"]).output
    table = page.partition("<!-- idp clients metadata --markdown -->\n")[2].partition("<!-- end -->")[0]
    assert table == printed, "Replace the table: idp clients metadata --markdown"
    assert all(f"| `{name}` |" in table for name in ClientMetadata.__struct_fields__)
