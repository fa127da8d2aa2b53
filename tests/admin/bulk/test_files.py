"""The import of a file by a job: the same as `idp users import`, encrypted at rest, resumed and cancelled."""

import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from idp.accounts.attributes import declaration
from idp.accounts.attributes import service as attribute_values
from idp.accounts.attributes.registry import attributes
from idp.accounts.import_files import InvalidFileError
from idp.accounts.passwords import verify_password
from idp.accounts.repository.users import user_by_email
from idp.admin.bulk import files, service, worker
from idp.admin.bulk.models import State
from idp.admin.bulk.service import FileTooLargeError, NobodyChosenError, TooManyItemsError
from idp.admin.roles import Role, revoke
from idp.errors import PermissionDeniedError
from idp.infra.db.engine import execute, fetch
from idp.settings import settings
from tests.admin.bulk.conftest import administrator, events, finish, one_batch_a_turn, people, reasons

pytestmark = pytest.mark.usefixtures("empty")

#: Of the password "hunter2": bcrypt.
HASH = "$2b$04$WQ2AxIsHLW3RoZ8Nm6mHbu1XKcpBxkRkWwFg3pzDvNTAGUPvGZWSe"


def _csv(number: int, *more: str) -> bytes:
    return "\n".join(["email,name", *(f"new{n}@example.com,New {n}" for n in range(number)), *more]).encode()


async def test_a_file_is_imported() -> None:
    _, owner = await administrator(Role.OWNER)
    await people(1)
    lines = ("new3@example.com,Again", "person0@example.com,Known", "not an address,Wrong")
    job = await service.create_import(owner, _csv(20, *lines))
    assert (job.kind, job.total, job.state) == ("import_users", 23, State.QUEUED)
    done = await finish(job)
    assert (done.state, done.changed, done.unchanged, done.failed) == (State.FINISHED, 20, 1, 2)
    assert (await reasons(job))["new3@example.com"] == "The address is the same as on line 5."
    found = await user_by_email("new19@example.com")
    assert found is not None
    assert (found.name, found.origin) == ("New 19", "import")
    assert {each["request_id"] for each in await events("users_imported")} == {str(job.id)}
    assert await fetch("SELECT FROM bulk_chunk") == []


async def test_json_lines_with_secrets_are_encrypted_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK", 100)
    records = [{"email": f"new{n}@example.com", "password_hash": HASH} for n in range(5)]
    job = await service.create_import(None, "\n".join(map(json.dumps, records)).encode())
    stored = b"".join(bytes(row["content"]) for row in await fetch("SELECT content FROM bulk_chunk"))
    assert len(stored) > 500
    assert b"new1" not in stored
    assert HASH.encode() not in stored
    done = await finish(job)
    assert (done.changed, done.failed) == (5, 0), await reasons(job)
    found = await user_by_email("new4@example.com")
    assert found is not None
    assert not await verify_password(found.password_hash, "wrong")


async def test_a_check_imports_nobody() -> None:
    job = await finish(await service.create_import(None, _csv(3, "x,y"), dry_run=True))
    assert (job.state, job.changed, job.failed) == (State.FINISHED, 3, 1)
    assert await fetch("SELECT FROM users") == []


async def test_an_import_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process reads the file again, and still knows the addresses before."""
    one_batch_a_turn(monkeypatch)
    job = await service.create_import(None, _csv(20, "new3@example.com,Again"))
    assert await worker.work()
    assert (await service.found(job.id)).done == 7
    assert (await service.cancel(job.id, None)).state == State.CANCELLED
    assert len(await fetch("SELECT FROM users")) == 7
    await service.resume(job.id, None)
    done = await finish(job)
    assert (done.state, done.done, done.changed, done.failed) == (State.FINISHED, 21, 20, 1)
    assert await reasons(job) == {"new3@example.com": "The address is the same as on line 5."}


async def test_only_an_owner_chooses_who_a_user_is() -> None:
    """Another administrator could make an account with the sub or the upstream account of somebody else."""
    records = [
        {"email": "plain@example.com", "sub": "", "identities": []},
        {"email": "sub@example.com", "sub": str(uuid4())},
        {"email": "identity@example.com", "identities": [{"issuer": "https://id.example.com", "subject": "1"}]},
    ]
    content = "\n".join(map(json.dumps, records)).encode()
    _, support = await administrator(Role.SUPPORT)
    for dry_run in (True, False):
        job = await service.create_import(support, content, dry_run=dry_run)
        done = await finish(job)
        assert (done.changed, done.failed) == (1, 2)
        assert await reasons(job) == {
            "sub@example.com": "Only an owner may import the column sub. Leave it out.",
            "identity@example.com": "Only an owner may import the column identities. Leave it out.",
        }
    _, owner = await administrator(Role.OWNER)
    done = await finish(await service.create_import(owner, content))
    assert (done.changed, done.unchanged, done.failed) == (2, 1, 0)


@pytest.mark.parametrize(
    "filled",
    [
        {"email_verified": True},
        {"email_verified": "yes"},
        {"phone_number": "+442079460000", "phone_number_verified": "1"},
        {"password_hash": HASH},
        {"totp_secret": "JBSWY3DPEHPK3PXP"},
    ],
)
async def test_only_an_owner_imports_proofs_and_secrets(filled: dict[str, object]) -> None:
    """Another administrator could enter an account that the person takes for theirs, or the organization trusts."""
    records: list[dict[str, object]] = [
        {"email": "new@example.com"} | filled,
        {"email": "plain@example.com", "email_verified": False, "phone_number_verified": "no", "password_hash": ""},
    ]
    content = "\n".join(map(json.dumps, records)).encode()
    _, support = await administrator(Role.SUPPORT)
    job = await service.create_import(support, content)
    done = await finish(job)
    assert (done.changed, done.failed) == (1, 1)
    column = list(filled)[-1]
    assert await reasons(job) == {"new@example.com": f"Only an owner may import the column {column}. Leave it out."}
    assert await user_by_email("new@example.com") is None
    _, owner = await administrator(Role.OWNER)
    done = await finish(await service.create_import(owner, content))
    assert (done.changed, done.unchanged, done.failed) == (1, 1, 0)


async def test_a_file_keeps_the_authority_of_who_chose_it() -> None:
    """Support cannot have an owner who resumes the job import more than support may."""
    _, support = await administrator(Role.SUPPORT)
    _, owner = await administrator(Role.OWNER)
    content = json.dumps({"email": "new@example.com", "email_verified": True, "password_hash": HASH}).encode()
    job = await service.create_import(support, content)
    await service.cancel(job.id, support)
    await service.resume(job.id, owner)
    done = await finish(job)
    assert (done.changed, done.failed) == (0, 1)
    assert await user_by_email("new@example.com") is None


@pytest.fixture
async def of_owners(empty: str) -> AsyncIterator[str]:
    """The name of an attribute that only owners see and edit."""
    name = "clearance"
    await declaration.declare(name=name, type="string", label={"default": name}, visible_to=(), editable_by=())
    await attributes.load()
    yield name
    await declaration.delete(name)
    await attributes.load()


async def test_an_administrator_imports_attributes_that_they_may_edit(of_owners: str) -> None:
    content = json.dumps({"email": "new@example.com", "attributes": {of_owners: "top"}}).encode()
    _, support = await administrator(Role.SUPPORT)
    _, owner = await administrator(Role.OWNER)
    job = await service.create_import(support, content)
    assert (await finish(job)).failed == 1
    said = f"Only an owner may import the attribute {of_owners}. Leave it out."
    assert await reasons(job) == {"new@example.com": said}
    for allowed in (owner, None):
        await execute("DELETE FROM users WHERE email = 'new@example.com'")
        assert (await finish(await service.create_import(allowed, content))).changed == 1
        found = await user_by_email("new@example.com")
        assert found is not None
        assert await attribute_values.values(found.id) == {of_owners: "top"}


async def test_a_role_that_is_lost_ends_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    one_batch_a_turn(monkeypatch)
    asker, caller = await administrator(Role.SUPPORT)
    job = await service.create_import(caller, _csv(20))
    await worker.work()
    await revoke(asker.id, Role.SUPPORT)
    ended = await finish(job)
    assert (ended.state, ended.done, ended.error) == (State.FAILED, 7, "A role of the administrator has been revoked.")


async def test_an_unexpected_error_ends_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError

    job = await service.create_import(None, b'{"email": "a@example.com", "totp_secret": "JBSWY3DPEHPK3PXP"}')
    monkeypatch.setattr(files, "store", broken)
    ended = await finish(job)
    assert (ended.state, ended.error.startswith("An unexpected error.")) == (State.FAILED, True)
    assert await fetch("SELECT FROM users") == []


async def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, auditor = await administrator(Role.AUDITOR)
    with pytest.raises(PermissionDeniedError):
        await service.create_import(auditor, _csv(1))
    with pytest.raises(InvalidFileError, match="Did you mean email"):
        await service.create_import(None, b"emial\na@example.com")
    for empty in (b"", b"email\n", b"\xef\xbb\xbf{"[:3]):
        with pytest.raises((NobodyChosenError, InvalidFileError)):
            await service.create_import(None, empty)
    monkeypatch.setenv("IDP_BULK_MAX_ITEMS", "5")
    monkeypatch.setenv("IDP_BULK_MAX_FILE", "2000")
    settings.cache_clear()
    with pytest.raises(TooManyItemsError):
        await service.create_import(None, _csv(6))
    with pytest.raises(FileTooLargeError):
        await service.create_import(None, b"x" * 2001)
    assert await fetch("SELECT FROM bulk_job") == []
    monkeypatch.undo()
    settings.cache_clear()
