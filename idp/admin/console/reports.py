"""The report page of a containment: what was revoked, and what stays usable until when."""

from litestar import Response

from idp.admin.console.components import Action, Cell, Table, when
from idp.admin.console.screen import HOME, AdminRequest, not_found, redirect_with_notice, render, screen
from idp.admin.incidents import Report, report_of
from idp.admin.roles import Permission
from idp.oauth.clients import path_ids

#: By kind of report: the section of the console, the path parameter with the key of the record, and who may read it.
SECTIONS = {
    "user": ("users", "user_id", Permission.USERS_READ),
    "client": ("clients", "client_id", Permission.CLIENTS_READ),
    "key": ("keys", "kid", Permission.KEYS_READ),
    "upstream": ("upstreams", "upstream_id", Permission.UPSTREAMS_READ),
}


def _declare(kind: str, section: str, parameter: str, permission: Permission) -> None:

    @screen("GET", f"/{section}/{{{parameter}}}/contained/{{event_id}}", permission)
    async def show_report(request: AdminRequest) -> Response[str]:
        report = await report_of(request.params["event_id"])
        if (report.kind, report.id) != (kind, request.params[parameter]):
            raise not_found()
        # As the browser wrote it.
        return _show(request, section, report, f"{HOME}/{section}/{request.http.path_params[parameter]}")


for kind, values in SECTIONS.items():
    _declare(kind, *values)


def path_of(report: Report) -> str:
    """Return the path of a report, after ``/admin``."""
    section, _, _ = SECTIONS[report.kind]
    key = path_ids.path_id(report.id) if report.kind == "client" else report.id
    return f"/{section}/{key}/contained/{report.event_id}"


def to_report(report: Report) -> Response[bytes]:
    """Redirect to the report."""
    return redirect_with_notice(path_of(report), "contained")


def _show(request: AdminRequest, section: str, report: Report, back: str) -> Response[str]:
    ended = [[Cell(name.replace("_", " ")), Cell(f"{count:,}")] for name, count in report.ended.items()]
    usable = [
        [Cell(each.what, prose=True), Cell(", ".join(each.where)), when(each.until, "until they expire")]
        for each in report.still_usable
    ]
    alone = f" {report.alone:,} users have no other way to sign in." if report.alone else ""
    return render(
        request,
        "record",
        section=section,
        heading="Contained",
        intro=f"The {report.kind} {report.id} is contained.{alone} You can open this page again from the audit trail.",
        tables=[
            Table("What ended", ("What", "How many"), ended),
            Table("What continues", ("What", "Where", "Until"), usable, "Nothing."),
        ],
        acts=[Action("Back", back)],
    )
