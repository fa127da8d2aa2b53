"""Imports the users of a file that was uploaded, a few records in one transaction.

The file is kept in encrypted chunks until the job has finished, because it may have password hashes. A worker
decrypts it, and reads it with the code of `idp users import` (:mod:`idp.accounts.imports`).
"""

import asyncio
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Final
from uuid import UUID

import msgspec
import structlog

from idp.accounts.attributes import records as attribute_records
from idp.accounts.attributes.models import Audience
from idp.accounts.import_files import Record, read_csv, read_json_lines
from idp.accounts.imports import COLUMNS, import_users
from idp.admin.bulk.kinds import UsersFile
from idp.admin.bulk.models import Failure, Job
from idp.admin.bulk.repository import items
from idp.admin.bulk.step import UNEXPECTED, Step, advanced, caller_of, held, interrupts
from idp.errors import ConflictError
from idp.federation.repository import emails_of_identities
from idp.infra.db.engine import transaction
from idp.infra.logs import exception_fields
from idp.keys import vault
from idp.signin.factors.imports import release, store

log = structlog.get_logger()

#: Records of one transaction, and of one look at the file without a pause.
BATCH = 100
#: Bytes of a chunk.
CHUNK: Final = 1024 * 1024


class ImportStoppedError(ConflictError):
    """A batch could not be imported, for a reason that is not in its records."""


def form_of(content: bytes) -> UsersFile:
    """Return the parameters of a file: JSON lines if it begins with an object, otherwise CSV."""
    return UsersFile("jsonl" if content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "csv")


def _records(content: bytes, file: UsersFile) -> Iterator[Record]:
    if file.form == "csv":
        return read_csv(BytesIO(content), COLUMNS | attribute_records.columns())
    return read_json_lines(BytesIO(content))


async def count(content: bytes, file: UsersFile) -> int:
    """Return the number of records of a file.

    Raises:
        InvalidFileError: its first line is not the names of columns.
    """
    records, number = _records(content, file), 0
    while found := len(list(islice(records, BATCH))):
        number += found
        # Others have their turn.
        await asyncio.sleep(0)
    return number


async def keep(job_id: UUID, content: bytes) -> None:
    """Store a file with its job, in the current transaction."""
    for number, start in enumerate(range(0, len(content), CHUNK)):
        chunk = vault.encrypt(content[start : start + CHUNK], _context(job_id, number))
        await items.insert_chunk(job_id, number, chunk)


async def _read(job_id: UUID) -> bytes:
    chunks = await items.chunks(job_id)
    return b"".join(vault.decrypt(chunk.content, _context(job_id, chunk.number)) for chunk in chunks)


def _context(job_id: UUID, number: int) -> str:
    return f"bulk_chunk.content:{job_id}:{number}"


async def steps(job: Job) -> Step:
    """Return the step of a job that imports users, from where the job is.

    Raises:
        InvalidFileError: the first line names an attribute that has been deleted.
    """
    file, caller = msgspec.json.decode(job.parameters, type=UsersFile), caller_of(job)
    by_owner = file.by_owner and (caller is None or caller.owner)
    batches = import_users(
        _records(await _read(job.id), file), store, emails_of_identities, release,
        dry_run=file.dry_run, batch_size=BATCH, after=job.done,
        audience=Audience.OWNER if by_owner else Audience.SUPPORT,
    )  # fmt: skip

    async def step(job: Job, holder: UUID) -> Job:
        try:
            async with transaction():
                await held(job)
                batch = await anext(batches)
                failures = [Failure(each.line, each.email or "", each.reason) for each in batch.refused]
                passed = batch.imported + batch.existing + len(failures)
                return await advanced(job, holder, passed, batch.imported, failures)
        except Exception as error:
            if interrupts(error):
                raise
            log.warning("bulk_batch_failed", **exception_fields(error))
            raise ImportStoppedError(UNEXPECTED) from error

    return step
