"""The jobs of `idp attributes`: changes of the values of all users, in batches."""

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_json, print_table
from idp.cli.progress import progress

#: Seconds until the job is looked at again, if a server works on it.
_LOOK_SECONDS = 0.2


@click.command("jobs")
@json_option
@with_database
async def list_jobs(as_json: bool) -> None:
    """List attributes whose values are being indexed or deleted, and how far it is."""
    from idp.accounts.attributes.jobs.repository import JOBS
    from idp.infra.db.listing import all_rows

    shown = ("attribute", "kind", "done", "total", "started_at")
    found = [{name: row[name] for name in shown} for row in await all_rows(JOBS)]
    if as_json:
        print_json(found)
    else:
        print_table(("Attribute", "Job", "Done", "Values", "Since"), [list(each.values()) for each in found])


async def finish_job(attribute: str) -> None:
    """Work on the job of an attribute until it is done, with a bar on a terminal. Servers work on it too."""
    import asyncio

    from idp.accounts.attributes.jobs.repository import job
    from idp.accounts.attributes.jobs.runner import Runner

    runner = Runner()
    with progress("Values") as tell:
        while (found := await job(attribute)) is not None:
            tell(found.done, total=found.total)
            if not await runner.work(attribute):
                await asyncio.sleep(_LOOK_SECONDS)
