"""The progress of a job on a terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idp.admin.bulk.models import Job

#: Seconds between two looks at a job.
POLL_SECONDS = 0.5


def sentence(job: "Job") -> str:
    """Say in one sentence what has become of a job."""
    counts = f"{job.done} of {job.total} done: {job.changed} changed, {job.unchanged} unchanged, {job.failed} failed."
    return f"The job is {job.state}. {counts} {job.error}".rstrip()


async def follow_job(job: "Job") -> "Job":
    """Wait until a job has ended, with a bar on a terminal. Returns the job."""
    import asyncio

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from idp.admin.bulk import service

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(job.kind, total=job.total)
        while not job.is_over:
            await asyncio.sleep(POLL_SECONDS)
            job = await service.found(job.id)
            bar.update(task, description=f"{job.kind} {job.state}", completed=job.done, total=job.total)
    return job
