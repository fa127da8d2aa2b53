"""`idp jobs`."""

import json
from pathlib import Path

from idp import ids
from idp.accounts.repository.users import user_by_id
from idp.directory import groups
from tests.cli.conftest import Cli
from tests.conftest import MakeUser
from tests.support.server import Server


async def test_the_life_of_a_job(cli: Cli, server: Server, make_user: MakeUser, tmp_path: Path) -> None:
    """The running server does it, while the command waits."""
    user, other = await make_user(), await make_user()
    listed = tmp_path / "users.txt"
    listed.write_text(f"{user.email}\n\n{other.id}\n")
    started = cli("jobs", "start", "disable", "--file", str(listed), "--expected", "2", "--follow")
    job_id = started.out.split()[0]
    assert "The job is finished. 2 of 2 done: 2 changed, 0 unchanged, 0 failed." in started.out
    # Without a terminal there is no bar.
    assert started.err == ""
    found = await user_by_id(user.id)
    assert found is not None
    assert found.disabled_at is not None

    shown = cli("jobs", "show", job_id, "--json").json
    assert (shown["kind"], shown["state"], shown["done"], shown["errors"]) == ("disable", "finished", 2, [])
    assert shown["actor"].startswith("cli:")
    assert "caller" not in shown
    assert job_id in [row["id"] for row in cli("jobs", "list", "--state", "finished", "--json").json]
    assert job_id in cli("jobs", "list").out
    for act in ("cancel", "resume"):
        assert "The job has ended." in cli.fails("jobs", act, job_id)
    assert "no such job" in cli.fails("jobs", "show", str(ids.uuid7()))
    cli("jobs", "start", "enable", "--filter", f"email={user.email}", "--follow")
    assert "finished" in cli("jobs", "follow", job_id).out


async def test_failed_items_are_listed_and_fail_the_command(cli: Cli, server: Server) -> None:
    group = await groups.create(f"Staff {ids.uuid7()}")
    names = [f"nobody{n}@example.com" for n in range(25)]
    cli("jobs", "start", "add_to_group", *names, "--group", group.name, "--follow", code=1)
    job_id = cli("jobs", "list", "--limit", "1", "--json").json[0]["id"]
    shown = cli("jobs", "show", job_id)
    assert "There is no such user." in shown.out
    assert "5 more failed" in shown.err
    errors = cli("jobs", "errors", job_id, "--json").json
    assert [each["name"] for each in errors] == names
    assert json.dumps(errors).count("no such user") == 25
    assert names[24] in cli("jobs", "errors", job_id).out
    assert "25 failed" in cli("jobs", "follow", job_id, code=1).out


def test_what_is_refused(cli: Cli) -> None:
    start = ("jobs", "start")
    for arguments, error in (
        (("disable",), "Name users, or choose"),
        (("disable", "a@example.com", "--all"), "Name users, or choose"),
        (("add_to_group", "a@example.com"), "needs --group"),
        (("disable", "--filter", "disabled"), "A filter is NAME=VALUE"),
    ):
        assert error in cli(*start, *arguments, code=2).err
    assert "no such group" in cli.fails(*start, "disable", "a@example.com", "--group", "Nowhere")
    assert "no such kind of job" in cli.fails(*start, "promote", "a@example.com")
    assert "confirm this number" in cli.fails(*start, "delete", "a@example.com")
