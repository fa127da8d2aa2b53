"""The progress of a job on a terminal."""

from typing import TYPE_CHECKING

from idp.cli.progress import progress

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

    from idp.admin.bulk import service

    with progress(job.kind, job.total) as tell:
        while not job.is_over:
            await asyncio.sleep(POLL_SECONDS)
            job = await service.found(job.id)
            tell(job.done, total=job.total, description=f"{job.kind} {job.state}")
    return job
