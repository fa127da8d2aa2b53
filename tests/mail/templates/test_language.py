"""What a template of the console may be made of, and that it can neither reach the server nor stop it."""

import time
from typing import Any

import pytest

from idp.mail.templates.language import MAX_OUTPUT, InvalidTemplateError, compile_template

NAMES = frozenset({"name", "link", "days", "brand", "client_name"})
VALUES: dict[str, Any] = {
    "name": "<A&B>", "link": "https://x.example/?a=1&b=2", "days": 3, "brand": {"name": "Acme", "color": None},
    "client_name": None, "button": lambda link, label: f"[{label}]({link})",
}  # fmt: skip


def rendered(source: str, *, html: bool = True) -> str:
    return compile_template(source, NAMES, html=html).render(VALUES)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("Hello {{ name }}", "Hello &lt;A&amp;B&gt;"),
        ("{% trans name=name %}Hello {{ name }},{% endtrans %}", "Hello &lt;A&amp;B&gt;,"),
        ("{% trans count=days %}{{ count }} day{% pluralize %}{{ count }} days, 100%{% endtrans %}", "3 days, 100%"),
        ("{{ button(link, _('Sign in')) }}", "[Sign in](https://x.example/?a=1&amp;b=2)"),
        ("{% if client_name %}a{% elif days > 2 %}b{% else %}c{% endif %}", "b"),
        ("{{ client_name or _('an application') }} {{ client_name | default('x', true) }}", "an application x"),
        ("{{ brand.name | upper }}{% if brand.color is none %}!{% endif %}", "ACME!"),
        ("{{ _('%(a)s%(a)s%(a)s%(a)s%(a)s', a=client_name or _('an application')) }}", "an application" * 5),
        ("{{ _('%(a)s %(b)s', a=name, b='<i>') }}", "&lt;A&amp;B&gt; &lt;i&gt;"),
        ("{{ ngettext('%(a)s', '%(a)s', 2, a=name) }}", "&lt;A&amp;B&gt;"),
        ("{{ days ~ '/' ~ days }}{# a comment #}{% raw %}{{ }}{% endraw %}", "3/3{{ }}"),
        # A width would make a text of any length.
        ("{{ _('%(name)999999999s %(name)s %%', name=days) }}", "%(name)999999999s 3 %"),
    ],
)
def test_what_templates_are_made_of(source: str, output: str) -> None:
    assert rendered(source).replace("&amp;amp;", "&amp;") == output


def test_text_is_not_escaped() -> None:
    assert rendered("{{ name }} {{ _('Hello %(who)s', who=name) }}", html=False) == "<A&B> Hello <A&B>"
    with pytest.raises(InvalidTemplateError, match="can be called"):
        rendered("{{ button(link, name) }}", html=False)


@pytest.mark.parametrize(
    "source",
    [
        # To what Python has.
        "{{ name.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ brand.__init__ }}",
        "{{ brand.items }}",
        "{{ brand['name'] }}",
        "{{ name|attr('__class__') }}",
        "{{ name.format(1) }}",
        "{{ '%s'|format(1) }}",
        "{{ ''['__class__'] }}",
        "{{ _.__globals__ }}",
        "{{ button.__globals__ }}",
        "{{ self }}",
        "{{ self.x() }}",
        "{{ caller() }}",
        "{{ loop }}",
        "{{ cycler('a') }}",
        "{{ joiner() }}",
        "{{ namespace(a=1) }}",
        "{{ lipsum(9) }}",
        "{{ dict(a=1) }}",
        "{{ range(9) }}",
        "{{ context }}",
        "{{ environment }}",
        "{{ settings }}",
        "{{ request_id }}",
        "{{ assets }}",
        "{{ static_url('x') }}",
        "{{ _ }}",
        "{{ name|default(_) }}",
        "{{ [name]|map('upper') }}",
        "{{ name|safe }}",
        "{{ name is sameas name }}",
        "{{ _(name, **brand) }}",
        "{{ _(*name) }}",
        # To other files.
        "{% include 'mail/base.html' %}",
        "{% import 'a' as b %}",
        "{% from 'a' import b %}",
        "{% extends 'a' %}",
        # More time or memory than the template is long.
        "{% for a in name %}{% endfor %}",
        "{% set a = name %}",
        "{% set a %}{% endset %}",
        "{% with a = name %}{% endwith %}",
        "{% macro a() %}{{ a() }}{% endmacro %}",
        "{% call button(link, name) %}{% endcall %}",
        "{% block a %}{% endblock %}",
        "{% filter upper %}{% endfilter %}",
        "{% autoescape false %}{{ name }}{% endautoescape %}",
        "{{ 'a' * 9999999999 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'a'|center(9999999999) }}",
        "{{ name|replace('A', name) }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ name|indent(9999999) }}",
        "{{ name|wordwrap(1) }}",
        "{{ name + name }}",
        "{{ button(button(link, name), name) }}",
        "{{ button(link, button(link, name) ~ 'x') }}",
        "{{ {'a': 1} }}",
        "{{ [1] }}",
        "{% trans a=_(name) %}{{ a }}{% endtrans %}",
        "{{ _(_('a'), b=_('c', d=name)) }}",
        "{{ _('%(a)s', a=name ~ name) }}",
        "{{ _('%(a)s', a=name|urlencode) }}",
        "{{ _('%(a)s', a=name if days else link) }}",
        "{{ _('%(a)s', a=name or link ~ link) }}",
        "{{ ngettext('%(num)s', 'b', days ~ days) }}",
        "{{ _('" + "%(a)s" * 6 + "', a=name) }}",
        "{{ ngettext('a', '" + "%(a)s" * 6 + "', days, a=name) }}",
        # Markup that is not the author's: a translation is not escaped.
        "{{ _(name) }}",
        "{{ gettext(name) }}",
        "{{ _(client_name or 'x') }}",
        "{{ ngettext(name, 'b', days) }}",
        "{{ ngettext('a', name, days) }}",
        "{{ button(link, _(name)) }}",
        "{{ _() }}",
        "{{ _(1) }}",
        "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
        "{% if name %}" * 200 + "{% endif %}" * 200,
        "{{ " + "1" * 5000 + " }}",
        "{{ " + "not " * 3000 + "name }}",
        "{{ name }}" * 4000,
        # Mistakes.
        "{{ nam }}",
        "{{ name",
        "{% if name %}",
        "{% nonsense %}",
        "{{ name|nonsense }}",
        "{{ -1 }}",
    ],
)
def test_what_they_cannot_have(source: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidTemplateError) as refused:
        compile_template(source, NAMES, html=True)
    assert refused.value.description
    # It is refused before it runs.
    assert time.process_time() - started < 5


def test_a_mistake_has_its_line() -> None:
    with pytest.raises(InvalidTemplateError, match=r"line 3: There is no variable “nam” in this mail\."):
        compile_template("a\nb\n{{ nam }}", NAMES, html=True)


def test_the_output_is_bounded() -> None:
    template = compile_template("{{ name }}" * 1400, NAMES, html=True)
    with pytest.raises(InvalidTemplateError, match="longer than"):
        template.render(VALUES | {"name": "n" * (MAX_OUTPUT // 1000)})


def test_a_translation_is_bounded_while_it_is_made() -> None:
    class Counted(str):
        __slots__ = ()
        used = 0

        def __str__(self) -> str:
            Counted.used += 1
            return "n" * (MAX_OUTPUT // 2)

    message = "".join(f"%(a{number})s" for number in range(100))
    given = ",".join(f"a{number}=name" for number in range(100))
    template = compile_template(f"{{{{ _('{message}', {given}) }}}}", NAMES, html=False)
    with pytest.raises(InvalidTemplateError, match="longer than"):
        template.render(VALUES | {"name": Counted()})
    assert Counted.used == 2


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        compile_template("{{ name }}", NAMES, html=True).render({})
