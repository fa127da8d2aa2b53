"""The language of templates that owners write in the console: a part of Jinja, in Jinja's sandbox.

An owner must not get code, files, settings or secrets of the server by a template, nor stop it. Jinja's sandbox alone
bounds neither time nor memory: strings double in a loop or an assignment. So a template may have only what
:data:`NODES`, :data:`FILTERS`, :data:`TESTS` and :data:`FUNCTIONS` name: text, variables, conditions and translations.
There are no loops, assignments, macros, blocks, includes, indexes, arithmetic or attributes but those of the brand, and
calls do not contain calls, but the translation of a fixed text. What is filled into a translation is one value, a few
times. Then the size of the output is at most linear in that of the template
(docs/decisions/0104-templates-of-the-console.md).
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, Final

from jinja2 import StrictUndefined, Template, TemplateError, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from idp.errors import ValidationError
from idp.infra import i18n
from idp.infra.templates import mail_link
from idp.mail import brand

NODES: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.If, nodes.CondExpr),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Concat, nodes.Filter, nodes.Test),
    *(nodes.Call, nodes.Keyword, nodes.Getattr, nodes.Tuple),
)
FILTERS: Final = frozenset({"capitalize", "default", "e", "escape", "lower", "mail_link", "trim", "upper", "urlencode"})
TESTS: Final = frozenset({"defined", "none"})
_TRANSLATIONS: Final = frozenset({"_", "gettext", "ngettext"})
#: Besides translations: the macros of ``mail/parts.html``, in HTML.
FUNCTIONS: Final = frozenset({"button"})
MAX_NODES, MAX_DEPTH = 3000, 30
#: Uses of one placeholder in a text to translate.
MAX_USES = 5
#: Characters of the output.
MAX_OUTPUT = 200_000
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|%)")
#: What authors expect, by the class of the node.
_WORDS: Final = {
    "For": "{% for %}", "Assign": "{% set %}", "AssignBlock": "{% set %}", "With": "{% with %}",
    "Macro": "{% macro %}", "CallBlock": "{% call %}", "FilterBlock": "{% filter %}", "Include": "{% include %}",
    "Import": "{% import %}", "FromImport": "{% from %}", "Extends": "{% extends %}", "Block": "{% block %}",
    "Getitem": "[ ]", "Add": "+", "Mul": "*", "Mod": "%", "Pow": "**", "Sub": "-", "Div": "/", "List": "a list",
    "Dict": "a dictionary",
}  # fmt: skip


class InvalidTemplateError(ValidationError):
    """A template cannot be used. The text says where and why."""


class Compiled:
    """A template that was checked. It can be rendered by several threads."""

    def __init__(self, template: Template) -> None:
        self._template = template

    def render(self, values: Mapping[str, Any]) -> str:
        """Render it.

        Raises:
            TemplateError: a value is missing.
            InvalidTemplateError: the output is too long.
        """
        parts, length = [], 0
        for part in self._template.generate(values):
            parts.append(part)
            length += len(part)
            if length > MAX_OUTPUT:
                raise InvalidTemplateError(f"The mail is longer than {MAX_OUTPUT} characters.")
        return "".join(parts)


def compile_template(source: str, names: Collection[str], *, html: bool) -> Compiled:
    """Check and compile a template.

    Args:
        names: the variables that it may use.
        html: whether values are escaped, and functions for HTML exist.

    Raises:
        InvalidTemplateError: it has an error of syntax, or something that it must not have.
    """
    environment = _environment(html=html)
    try:
        tree = environment.parse(source)
        functions = _TRANSLATIONS | (FUNCTIONS if html else frozenset())
        for number, node in enumerate(_walk(tree, 0)):
            if number > MAX_NODES:
                raise InvalidTemplateError(f"It has more than {MAX_NODES} parts.")
            _check(node, frozenset(names), functions)
        return Compiled(environment.from_string(tree))
    except InvalidTemplateError:
        raise
    except TemplateError as error:
        raise InvalidTemplateError(f"line {getattr(error, 'lineno', None) or 1}: {error.message}") from error
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
        raise InvalidTemplateError("It is nested too deeply, or has a number that is too long.") from error


def _walk(node: nodes.Node, depth: int) -> Iterator[nodes.Node]:
    if depth > MAX_DEPTH:
        raise InvalidTemplateError(f"line {node.lineno or 1}: It is nested too deeply.")
    yield node
    # The name of what is called is no variable.
    for child in (*node.args, *node.kwargs) if isinstance(node, nodes.Call) else node.iter_child_nodes():
        yield from _walk(child, depth + 1)


def _check(node: nodes.Node, names: frozenset[str], functions: frozenset[str]) -> None:
    if not isinstance(node, NODES):
        word = _WORDS.get(type(node).__name__, f"“{type(node).__name__}”")
        raise InvalidTemplateError(f"line {node.lineno or 1}: {word} cannot be used here.")
    if isinstance(node, nodes.Name):
        if node.name not in names:
            raise InvalidTemplateError(
                f"line {node.lineno or 1}: There is no variable “{node.name[:60]}” in this mail."
            )
    elif isinstance(node, nodes.Getattr):
        of_brand = isinstance(node.node, nodes.Name) and node.node.name == "brand"
        if not of_brand or node.attr not in brand.FIELDS:
            raise InvalidTemplateError(f"line {node.lineno or 1}: There is no “.{node.attr[:60]}”.")
    elif isinstance(node, nodes.Filter | nodes.Test):
        known = FILTERS if isinstance(node, nodes.Filter) else TESTS
        if node.name not in known:
            raise InvalidTemplateError(f"line {node.lineno or 1}: “{node.name[:60]}” cannot be used here.")
    elif isinstance(node, nodes.Call):
        _check_call(node, functions)


def _check_call(node: nodes.Call, functions: frozenset[str]) -> None:
    if not isinstance(node.node, nodes.Name) or node.node.name not in functions or node.dyn_args or node.dyn_kwargs:
        raise InvalidTemplateError(f"line {node.lineno or 1}: Only {', '.join(sorted(functions))} can be called.")
    if node.node.name in _TRANSLATIONS:
        _check_translation(node, 2 if node.node.name == "ngettext" else 1)
    for call in (call for each in (*node.args, *node.kwargs) for call in each.find_all(nodes.Call)):
        _check_inner(call)
    for each in (*node.args, *node.kwargs):
        if isinstance(each, nodes.Call):
            _check_inner(each)


def _check_translation(node: nodes.Call, count: int) -> None:
    """Check a translation: its texts are fixed, because they are not escaped, and what is filled in is one value.

    Args:
        count: how many texts it has.
    """
    texts = [each.value for each in node.args[:count] if isinstance(each, nodes.Const) and isinstance(each.value, str)]
    if len(texts) < count:
        raise InvalidTemplateError(f"line {node.lineno or 1}: Only a fixed text can be translated.")
    for text in texts:
        uses = Counter(match[1] for match in _PLACEHOLDER.finditer(text) if match[1] is not None)
        if any(number > MAX_USES for number in uses.values()):
            raise InvalidTemplateError(f"line {node.lineno or 1}: A value is more than {MAX_USES} times in a text.")
    for each in (*node.args[count:], *(keyword.value for keyword in node.kwargs)):
        if not _is_value(each):
            raise InvalidTemplateError(f"line {node.lineno or 1}: Only a variable or a fixed text can be filled in.")


def _is_value(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Or):
        return _is_value(node.left) and _is_value(node.right)
    # The translation of a fixed text. What else a call may be is checked with the calls in calls.
    return isinstance(node, nodes.Name | nodes.Getattr | nodes.Const | nodes.Call)


def _check_inner(node: nodes.Call) -> None:
    """Check a call in the arguments of another: only a text may be translated there."""
    plain = len(node.args) == 1 and isinstance(node.args[0], nodes.Const) and not node.kwargs
    if not plain or not isinstance(node.node, nodes.Name) or node.node.name not in _TRANSLATIONS:
        raise InvalidTemplateError(f"line {node.lineno or 1}: A call cannot contain another one.")


@cache
def _environment(*, html: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=0,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.newstyle_gettext = True  # type: ignore[attr-defined]
    known = environment.filters
    environment.filters = {name: known.get(name, mail_link) for name in FILTERS}
    environment.tests = {name: environment.tests[name] for name in TESTS}
    environment.globals = {"_": _translate, "gettext": _translate, "ngettext": _translate_plural}
    return environment


@pass_context
def _translate(context: Context, message: str, /, **values: Any) -> str:
    return _filled(context, i18n.translate(message), values)


@pass_context
def _translate_plural(context: Context, singular: str, plural: str, num: int, /, **values: Any) -> str:
    return _filled(context, i18n.translate_plural(singular, plural, num), {"num": num} | values)


def _filled(context: Context, text: str, values: Mapping[str, Any]) -> str:
    """Replace ``%(name)s``. Python's ``%`` would also take widths, and with them make texts of any length."""
    html = context.eval_ctx.autoescape
    length = len(text)

    def value(match: re.Match[str]) -> str:
        nonlocal length
        if match[1] is None:
            return "%"
        if match[1] not in values:
            raise InvalidTemplateError(f"There is no value for “{match[1][:60]}”.")
        found = str(escape(values[match[1]]) if html else values[match[1]])
        length += len(found)
        if length > MAX_OUTPUT:
            raise InvalidTemplateError(f"The mail is longer than {MAX_OUTPUT} characters.")
        return found

    filled = _PLACEHOLDER.sub(value, text)
    return Markup(filled) if html else filled  # noqa: S704 -- values are escaped, and the text is the template's
