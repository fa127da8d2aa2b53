"""Actions with a confirmation page.

GET shows what will happen; POST to the same path does it. So both work without JavaScript, and a sign-in that is too
old is renewed in between.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from litestar import Response

from idp.admin.console.components import Field, facts
from idp.admin.console.screen import HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission

#: Carries out an action. Returns the next path and the name of a notice, or a response.
ActionHandler = Callable[[AdminRequest, str], Awaitable[tuple[str, str] | Response[Any]]]

#: Returns the facts that identify the target of an action, given the key in the path. Raises
#: :func:`idp.admin.console.screen.not_found` if there is no such record.
Subject = Callable[[str], Awaitable[Mapping[str, Any]]]


class ConfirmedAction(msgspec.Struct, frozen=True):
    """An action with a confirmation page.

    Attributes:
        name: the last segment of its path.
        title: the title of the page and of its button.
        explanation: what will happen.
        fresh: whether a recent sign-in is required.
        fields: what the admin may add. The handler finds it in the form.
        question: the title of the page instead, with facts of the subject, as in ``Delete {Name}?``.
        typed: the fact that must be typed, for what cannot be undone.
        allowed: refuses a caller who may not act on the record, before what was typed is compared.
    """

    name: str
    title: str
    explanation: str
    permission: Permission
    handler: ActionHandler
    danger: bool = True
    fresh: bool = True
    fields: Sequence[Field] = ()
    question: str = ""
    typed: str = ""
    allowed: Callable[[AdminRequest, str], Awaitable[object]] | None = None


#: The field for :attr:`ConfirmedAction.typed`.
TYPED = "typed"


def declare_actions(section: str, parameter: str, subject: Subject, actions: list[ConfirmedAction]) -> None:
    """Declare the confirmation pages of the actions on a kind of record.

    Args:
        section: the section of the console, such as ``users``.
        parameter: the name of the path parameter with the key of the record.
        subject: returns the facts that the confirmation page shows.
    """
    for each in actions:
        _declare(section, parameter, subject, each)


def _declare(section: str, parameter: str, subject: Subject, each: ConfirmedAction) -> None:
    path = f"/{section}/{{{parameter}}}/{each.name}"

    def page(request: AdminRequest, named: Mapping[str, Any], error: str | None = None) -> Response[str]:
        # As the browser wrote it.
        back = f"{HOME}/{section}/{request.http.path_params[parameter]}"
        return render(
            request,
            "form",
            section=section,
            heading=each.question.format_map(named) if each.question else f"{each.title}?",
            subject=facts(named),
            intro=each.explanation,
            action=f"{back}/{each.name}",
            fields=[*each.fields, *_typed(each, named)],
            label=each.title,
            danger=each.danger,
            back=back,
            error=error,
            status=400 if error else 200,
        )

    @screen("GET", path, each.permission, fresh=each.fresh)
    async def ask(request: AdminRequest) -> Response[str]:
        return page(request, await subject(request.params[parameter]))

    @screen("POST", path, each.permission, fresh=each.fresh)
    async def act(request: AdminRequest) -> Response[Any]:
        if each.allowed is not None:
            await each.allowed(request, request.params[parameter])
        if each.typed:
            named = await subject(request.params[parameter])
            if request.form.get(TYPED, "").strip() != named[each.typed]:
                return page(request, named, f"Type the {each.typed.lower()} exactly as it is shown.")
        answer = await each.handler(request, request.params[parameter])
        return answer if isinstance(answer, Response) else redirect_with_notice(*answer)


def _typed(action: ConfirmedAction, named: Mapping[str, Any]) -> list[Field]:
    if not action.typed:
        return []
    return [Field(TYPED, f"Type “{named[action.typed]}” to confirm", required=True)]
