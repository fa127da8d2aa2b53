"""The report page of an incident: what was revoked, and what stays usable until when."""

from http import HTTPStatus

from litestar import Response

from idp.admin.console.components import Action, Cell, Table, when
from idp.admin.console.screen import AdminRequest, render
from idp.admin.incidents import Report


def show_report(request: AdminRequest, section: str, report: Report, back: str) -> Response[str]:
    """Show the report. It is not stored; the audit trail has the counts."""
    ended = [[Cell(name.replace("_", " ")), Cell(str(count))] for name, count in report.ended.items()]
    usable = [
        [Cell(each.what), Cell(", ".join(each.where)), when(each.until, "until they expire")]
        for each in report.still_usable
    ]
    alone = f" {report.alone} users have no other way to sign in." if report.alone else ""
    return render(
        request,
        "record",
        section=section,
        status=HTTPStatus.OK,
        heading="Contained",
        intro=f"The {report.kind} {report.id} is contained.{alone}",
        tables=[
            Table("What ended", ("What", "How many"), ended),
            Table("What continues", ("What", "Where", "Until"), usable, "Nothing."),
        ],
        acts=[Action("Back", back)],
    )
