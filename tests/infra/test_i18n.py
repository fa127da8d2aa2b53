"""Every text in every language, and the language of a response."""

import ast
import re
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from jinja2 import Environment, nodes

from idp.infra import i18n
from idp.settings import Settings
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
        return read_po(file, locale=i18n.cldr(language))


def _texts(value: str | tuple[str, ...] | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def test_the_languages_are_those_of_the_setting_and_have_a_catalogue() -> None:
    assert set(i18n.LOCALES) == set(get_args(Settings.model_fields["default_locale"].annotation))
    assert set(TRANSLATED) == {path.parent.name for path in i18n.FOLDER.glob("*/messages.po")}


def test_each_language_has_its_own_name() -> None:
    """As Babel has it, with a capital letter, and in this order."""
    named = {code: Locale.parse(code, sep="-").get_display_name(i18n.cldr(code)) or "" for code in i18n.LOCALES}
    named = {code: name[:1].upper() + name[1:] for code, name in named.items()}
    assert list(i18n.NAMES.items()) == sorted(named.items(), key=lambda pair: pair[1])


def test_the_start_reads_no_data_of_languages() -> None:
    """A worker reads those of the languages that it is asked for."""
    code = """
from babel import localedata
def load(name, merge_inherited=True):
    raise AssertionError(name)
localedata.load = load
from idp.app import create_app
create_app()
from idp.infra import i18n
assert i18n.choose(["ko", "zh-CN"]) == "zh-Hans"
assert i18n.choose(["nb"]) is None
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


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


@pytest.mark.parametrize("language", TRANSLATED)
def test_plurals_have_all_forms(language: str) -> None:
    """Polish has three, Arabic six, Japanese one."""
    catalogue = _catalogue(language)
    for message in catalogue:
        if isinstance(message.id, tuple):
            assert len(_texts(message.string)) == catalogue.num_plurals, message.id


#: What ends a text, and how Chinese, Japanese and Arabic write it.
ENDS = {".": ".。", ":": ":：", "?": "?？؟", "…": "…", ",": ",:，、،!！"}  # noqa: RUF001
#: No text has these: they change the direction of what follows, or hide.
INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
#: Letters that a translation has, where it is not written in Latin ones.
SCRIPTS = {"ja": ("HIRAGANA", "KATAKANA", "CJK"), "zh-Hans": ("CJK",), "ar": ("ARABIC",)}


@pytest.mark.parametrize("language", TRANSLATED)
def test_texts_are_written_as_the_original(language: str) -> None:
    """They end alike, have no stray spaces or invisible characters, and are in the script of the language."""
    for message in _catalogue(language):
        if not message.id:
            continue
        original = _texts(message.id)[0]
        for text in filter(None, _texts(message.string)):
            assert not re.search(r"^\s|\s\s|\s$", text), text
            assert not INVISIBLE.search(text), text
            assert text[-1] in ENDS.get(original[-1], text[-1]), (original, text)
            # Buttons and headings end without a full stop.
            assert original[-1] in ENDS or text[-1] not in ".。:：", (original, text)  # noqa: RUF001
            words = TAGS.sub("", PLACES.sub("", text))
            if language in SCRIPTS and re.search(r"[a-z]{3} [a-z]{3}", TAGS.sub("", PLACES.sub("", original))):
                assert any(unicodedata.name(one, "").startswith(SCRIPTS[language]) for one in words), text


#: A label, button or heading is not much longer than the original, or it breaks the layout.
SHORT, LONGER, MORE = 24, 2.0, 10


@pytest.mark.parametrize("language", TRANSLATED)
def test_short_texts_stay_short(language: str) -> None:
    long = [
        (original, text)
        for message in _catalogue(language) if message.id
        for original, text in zip(_texts(message.id), _texts(message.string), strict=False)
        if text and len(original) <= SHORT and len(text) > LONGER * len(original) + MORE
    ]  # fmt: skip
    assert long == []


@pytest.mark.parametrize("language", i18n.LOCALES)
def test_times_are_written_as_in_the_language(language: str) -> None:
    token = i18n.locale.set(language)
    try:
        exact = i18n.exact_moment(datetime(2026, 11, 21, 9, 5, tzinfo=UTC))
    finally:
        i18n.locale.reset(token)
    assert exact.endswith(("2026, 09:05 UTC", "2026 09:05 UTC", "2026، 09:05 UTC", "日 09:05 UTC"))
    expected = {"en": "21 November 2026, 09:05 UTC", "de": "21. November 2026, 09:05 UTC"}
    assert exact == expected.get(language, exact)


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
        ("xx,fr;q=0.9,en;q=0.8", "fr"),
        ("en;q=0.1,es;q=0.9", "es"),
        ("de;q=0,en", "en"),
        ("xx", None),
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
