"""Fields of the forms of an organization, and confirmations."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from litestar import Response

from idp.errors import DomainError
from idp.selfservice.organization.page import Visit, render


class Field(NamedTuple):
    """A field of a form.

    Attributes:
        kind: ``text``, ``email``, ``lines``, ``choice`` or ``check``.
        choices: values and labels of a choice.
        group: the heading over this and the boxes beside it that have the same.
        ltr: whether the text is read from left to right in every language.
    """

    name: str
    label: str
    value: str = ""
    kind: str = "text"
    hint: str = ""
    choices: Sequence[tuple[str, str]] = ()
    required: bool = True
    ltr: bool = False
    max_length: int = 100
    group: str = ""


def form(
    visit: Visit,
    section: str,
    *,
    heading: str,
    fields: Sequence[Field],
    label: str,
    back: str,
    intro: str = "",
    version: str = "",
    error: DomainError | str | None = None,
    problems: Mapping[str, str] | None = None,
) -> Response[Any]:
    """Render a form that is sent to the path of the page.

    Args:
        label: that of the button.
        back: where the page leads without a change, after the path of the organization.
        version: of the record that the form shows.
        problems: what was refused, with the reasons.
    """
    return render(
        visit, "form", section, heading=heading, fields=fields, label=label, back=visit.path + back, intro=intro,
        version=version, action=visit.here, error=error, problems=problems or {},
    )  # fmt: skip


def ask(
    visit: Visit,
    section: str,
    *,
    heading: str,
    facts: Mapping[str, str],
    text: str,
    label: str,
    back: str,
    fields: Mapping[str, str] | None = None,
    danger: bool = False,
    error: DomainError | None = None,
) -> Response[Any]:
    """Render a page that asks for confirmation, and says of whom or what.

    Args:
        text: what follows, and how to undo it, in a sentence or two.
        danger: whether something is lost.
    """
    return render(
        visit, "ask", section, heading=heading, facts=facts, text=text, label=label, back=visit.path + back,
        fields=fields or {}, danger=danger, action=visit.here, error=error,
    )  # fmt: skip
