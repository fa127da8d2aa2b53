"""Every text in every language, and the language of a response."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from jinja2 import Environment, nodes

from idp.infra import i18n
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page

ROOT = Path(__file__).parents[2]
TRANSLATED = [language for language in i18n.LOCALES if language != i18n.SOURCE]
TEMPLATES = [
    path for path in sorted((ROOT / "templates").rglob("*.*"))
    if path.suffix in (".html", ".txt") and not {"dev", "admin"} & set(path.parts)
]  # fmt: skip
PLACES = re.compile(r"%\((\w+)\)[sd]")
TAGS = re.compile(r"</?[a-z][^>]*>")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The texts as they are in the code and the templates now."""
    pot = tmp_path_factory.mktemp("texts") / "messages.pot"
    command = [str(Path(sys.executable).with_name("pybabel")), "-q", "extract", "-F", "babel.cfg", "-o", str(pot), "."]
    subprocess.run(command, cwd=ROOT, check=True)
    with pot.open("rb") as file:
        return read_po(file)


def _catalogue(language: str) -> Catalog:
    with (i18n.FOLDER / language / "messages.po").open("rb") as file:
        return read_po(file, locale=language)


def _texts(value: str | tuple[str, ...] | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def test_there_are_four_languages() -> None:
    assert set(i18n.LOCALES) == {"en", "de", "es", "fr"}


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated(source: Catalog, language: str) -> None:
    """`make messages` collects new texts; translate them then."""
    catalogue = _catalogue(language)
    missing = [
        message.id for message in source
        if message.id and not (
            (found := catalogue.get(_texts(message.id)[0])) and all(_texts(found.string or "")) and not found.fuzzy
        )
    ]  # fmt: skip
    assert missing == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_places_and_marks_are_those_of_the_original(language: str) -> None:
    for message in _catalogue(language):
        if not message.id:
            continue
        ids = _texts(message.id)
        places = {place for text in ids for place in PLACES.findall(text)}
        for text in filter(None, _texts(message.string)):
            used = set(PLACES.findall(text))
            # A singular may say "one" where the plural has the number.
            assert used <= places, message.id
            assert len(ids) > 1 or used == places, message.id
            assert sorted(TAGS.findall(text)) == sorted(TAGS.findall(ids[0])), message.id
            assert "%" not in PLACES.sub("", text), message.id


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_every_text_of_a_template_is_translated(path: Path) -> None:
    environment = Environment(extensions=["jinja2.ext.i18n"])
    tree = environment.parse(path.read_text(encoding="utf-8"))
    text = "".join(
        node.data if isinstance(node, nodes.TemplateData) else "\0"
        for output in tree.find_all(nodes.Output)
        for node in output.nodes
    )
    text = re.sub(r"<(style|script)\b.*?</\1>", "", text, flags=re.DOTALL)
    shown = re.findall(r"\b(?:alt|title|placeholder|aria-label)=\"([^\"\0]+)\"", text)
    text = re.sub(r"<[^>]*>", "", text)
    # Attributes written by a macro, our own paths, and the names of layouts.
    text = re.sub(r"(/\w+)+", "", text)
    text = re.sub(r" [\w-]+=\"[^\"]*\"", "", text)
    words = set(re.findall(r"[^\W\d_]{2,}", text + " ".join(shown)))
    assert words <= {"UTC", "wide", "narrow"}


def test_every_page_error_is_translated() -> None:
    """Errors for users are translated where they are raised."""
    bare = []
    for path in (ROOT / "idp").rglob("*.py"):
        # The console and its API speak English (docs/decisions/0021).
        if {"dev", "cli", "admin"} & set(path.parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("PageError", "Refused"):
                bare += [
                    (path.name, argument.value) for argument in node.args
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                ]  # fmt: skip
    assert bare == []


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("it,fr;q=0.9,en;q=0.8", "fr"),
        ("en;q=0.1,es;q=0.9", "es"),
        ("de;q=0,en", "en"),
        ("it", None),
        ("", None),
        ("*", None),
        ("de;q=x,fr", "fr"),
        (",;;q=,," * 2000, None),
        ("\x00", None),
    ],
)
def test_the_language_of_a_browser(header: str, language: str | None) -> None:
    assert i18n.from_header(header) == language


async def test_ui_locales_come_first(browser: Browser, make_client: MakeClient) -> None:
    """OpenID Connect Core section 3.1.2.1: those of the application, then the browser's, then the default."""
    client = await make_client()
    browser.client.headers["accept-language"] = "fr"
    for ui_locales, expected in ((None, "fr"), ("de fr", "de"), ("xx es-MX", "es"), ("xx", "fr")):
        page = await client.authorize(browser, ui_locales=ui_locales)
        assert isinstance(page, Page)
        assert f'<html lang="{expected}" dir="ltr">' in page.text
    browser.client.headers["accept-language"] = "xx"
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    assert '<html lang="en"' in page.text
