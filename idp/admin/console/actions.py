"""Screens for what is done with one confirmation: a page that says what will happen, and the form that does it.

The page is a GET and the deed a POST to the same address, so that both work without a script, and a sign-in that has
become old is renewed in between.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from litestar import Response

from idp.admin.console.components import facts
from idp.admin.console.screen import HOME, AdminRequest, done, screen, show
from idp.admin.roles import Permission

#: Does the deed. Returns where to go and what to say, or an answer of its own.
ActionHandler = Callable[[AdminRequest, str], Awaitable[tuple[str, str] | Response[str]]]

#: Whom or what a deed is done to, given the part of the path: facts that tell it from all others. Raises the page of
#: :func:`idp.admin.console.screen.not_found` if there is no such record.
Subject = Callable[[str], Awaitable[Mapping[str, Any]]]


class Confirmed(msgspec.Struct, frozen=True):
    """A deed.

    Attributes:
        name: the last part of its address.
        title: of the page and of its button.
        explanation: what will happen.
        fresh: the sign-in must not be long ago.
    """

    name: str
    title: str
    explanation: str
    permission: Permission
    deed: ActionHandler
    danger: bool = True
    fresh: bool = True


def declare(section: str, parameter: str, subject: Subject, deeds: list[Confirmed]) -> None:
    """Declare the screens of the deeds that can be done to a record.

    Args:
        section: the part of the console, as ``users``.
        parameter: what the path calls the record.
        subject: what the page that asks names.
    """
    for each in deeds:
        _declare(section, parameter, subject, each)


def _declare(section: str, parameter: str, subject: Subject, each: Confirmed) -> None:
    path = f"/{section}/{{{parameter}}}/{each.name}"

    @screen("GET", path, each.permission, fresh=each.fresh)
    async def ask(visit: AdminRequest) -> Response[str]:
        record = visit.params[parameter]
        named = await subject(record)
        return show(
            visit,
            "form",
            section=section,
            heading=f"{each.title}?",
            subject=facts(named),
            intro=each.explanation,
            action=f"{HOME}/{section}/{record}/{each.name}",
            fields=[],
            label=each.title,
            danger=each.danger,
            back=f"{HOME}/{section}/{record}",
        )

    @screen("POST", path, each.permission, fresh=each.fresh)
    async def act(visit: AdminRequest) -> Response[str] | Response[bytes]:
        answer = await each.deed(visit, visit.params[parameter])
        return answer if isinstance(answer, Response) else done(*answer)
