"""`idp trace`: what was asked and decided in a sign-in or a token request, for support."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import rich_click as click

from idp.cli.database import with_database
from idp.cli.named_user import find_user_id
from idp.cli.output import json_option, print_json, print_table, text
from idp.errors import NotFoundError, OperatorError

if TYPE_CHECKING:
    from idp.trace.reading import ShownRequest

WIDTH, NAME = 80, 22


class NoTraceError(NotFoundError):
    """There is no recorded flow with this id."""

    def __init__(self) -> None:
        super().__init__(
            "Nothing is recorded under this id: it is unknown, older than IDP_TRACE_RETENTION, or the request succeeded"
            " and was not worth a record."
        )


class NoTraceAskedError(OperatorError):
    """The command names no flow."""

    def __init__(self) -> None:
        super().__init__("Name the ID that the error page shows, or filter with --user, --client, --outcome, --last.")


@click.command()
@click.argument("id", required=False)
@click.option("--user", "email", help="Only requests of this user: an email address or an id.")
@click.option("--client", "client_id", help="The requests of this client.")
@click.option("--outcome", type=click.Choice(["success", "refused", "failed"]), help="Only events with this outcome.")
@click.option("--reason", help="Only requests refused for this reason, such as wrong_redirect_uri.")
@click.option("--last", type=click.IntRange(1, 200), help="Maximum number of requests in the list (by default 20).")
@json_option
@with_database
async def trace(
    *,
    id: str | None,
    email: str | None,
    client_id: str | None,
    outcome: str | None,
    reason: str | None,
    last: int | None,
    as_json: bool,
) -> None:
    """Show what happened in a sign-in or a token request, and why.

    ID is the number that an error page shows (the header X-Request-Id of a response), or the id of a flow. Without it,
    the most recent requests are listed. The audit trail records whose requests were read.
    """
    from idp.reasons import Reason

    if reason is not None and reason not in set(Reason):
        raise click.BadParameter("there is no such reason. docs/audit.md lists them.", param_hint="--reason")
    filters = {"client_id": client_id, "outcome": outcome, "reason": reason}
    if email is not None:
        filters["user_id"] = str(await find_user_id(email))
    given = {name: value for name, value in filters.items() if value}
    if id is None and not given and last is None:
        raise NoTraceAskedError
    if id is None:
        await _list(given, last or 20, as_json=as_json)
    else:
        await _show(id, as_json=as_json)


async def _list(filters: dict[str, str], limit: int, *, as_json: bool) -> None:
    from idp.infra.db.listing import list_page
    from idp.trace import reading
    from idp.trace.repository import REQUESTS

    await reading.record_reading(filters)
    rows = (await list_page(REQUESTS, filters, limit=limit)).rows
    if as_json:
        hidden = ("id", "steps")
        print_json(
            [{name: row[name] for name in row if not name.startswith("_") and name not in hidden} for row in rows]
        )
        return
    print_table(
        ("Time (UTC)", "Request", "Outcome", "Endpoint", "Reason", "Client"),
        [
            (f"{row['at']:%m-%d %H:%M:%S}", row["request_id"], row["outcome"], row["route"],
             row["reason"] or row["error"], row["client_id"])
            for row in rows
        ],
    )  # fmt: skip


async def _show(id: str, *, as_json: bool) -> None:
    from idp.trace import reading

    requests = await reading.read_flow(id)
    if not requests:
        raise NoTraceError
    if as_json:
        print_json(requests)
        return
    for line in _lines(requests):
        click.echo(line)


def _lines(requests: "list[ShownRequest]") -> Iterator[str]:
    first = requests[0]
    yield f"Flow {first.trace_id}, {text(first.at)}, {len(requests)} request{'s' if len(requests) > 1 else ''}"
    for name in ("client", "user"):
        who = next((value for each in requests if (value := getattr(each, f"{name}_id"))), None)
        yield from _fields({name: who} if who else {}, "")
    for request in requests:
        yield ""
        yield f"+{request.offset_ms} ms  {request.method} {request.route or '(no route)'}: {_outcome(request)}"
        yield f"  request {request.request_id}  status {request.status}  took {request.duration_ms} ms"
        for step in request.steps:
            yield from _wrapped(f"{step.ms:>5} ms  ", step.sentence)
            yield from _fields(step.fields, " " * 10)
        if request.hint:
            yield from _wrapped("  why:  ", request.hint)
        if request.mend:
            yield from _wrapped("  fix:  ", request.mend)


def _outcome(request: "ShownRequest") -> str:
    why = request.reason or request.error
    return f"{request.outcome} ({why})" if why else request.outcome


def _fields(fields: dict[str, Any], margin: str) -> Iterator[str]:
    from idp.trace.reading import in_words

    for name, value in fields.items():
        yield from _wrapped(f"{margin}{name.replace('_', ' '):<{NAME}} ", text(in_words(name, value)))


def _wrapped(begin: str, words: str) -> list[str]:
    return textwrap.wrap(words, WIDTH, initial_indent=begin, subsequent_indent=" " * len(begin)) or [begin.rstrip()]
