"""No check stops another one, takes too long, or shows a secret. The page names every finding."""

import ast
import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import idp.doctor
from idp.doctor import smtp
from idp.doctor.checks import CHECKS
from idp.doctor.examination import examine, found
from idp.doctor.models import Check, Context, Findings, Level, Needs, error, exit_code, note, ok, warning
from idp.doctor.settings import RULES
from idp.settings import load
from tests.support.examinations import named

ROOT = Path(__file__).parents[2]
PASSWORD = "correct-horse%40battery"


def context(**settings: object) -> Context:
    return Context(settings=load(**settings))


def check(run: object, **options: object) -> Check:
    return Check(name="one", title="One", run=run, **options)  # type: ignore[arg-type]


async def test_a_check_that_fails_keeps_what_it_found() -> None:
    async def fails(_: Context) -> Findings:
        yield note("first", "It is so.", "Do it.")
        raise ZeroDivisionError(PASSWORD)

    async def works(_: Context) -> Findings:
        yield ok("Well.")

    broken, sound = await examine([check(fails), check(works)], context())
    assert named(broken.findings) == {("first", Level.NOTE), ("check_failed", Level.ERROR)}
    assert PASSWORD not in str(broken)
    assert [one.level for one in sound.findings] == [Level.OK]


async def test_a_check_has_a_deadline() -> None:
    closed = asyncio.Event()

    async def hangs(_: Context) -> Findings:
        yield ok("Well.")
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with asyncio.timeout(30):
        (result,) = await examine([check(hangs, seconds=0.05)], context())
    assert named(result.findings) == {("check_timed_out", Level.WARNING)}
    assert closed.is_set()


async def test_checks_are_skipped_with_a_reason() -> None:
    async def never(_: Context) -> Findings:
        raise AssertionError
        yield

    checks = [check(never, needs=Needs.DATABASE), check(never, needs=Needs.RECORDS), check(never, network=True)]
    results = await examine(checks, Context(settings=load(), network=False))
    assert [result.findings for result in results] == [[], [], []]
    assert all(result.skipped.endswith(".") for result in results)


@pytest.mark.parametrize(
    "form",
    [
        "correct-horse%40battery",
        "correct-horse@battery",
        "smtp://idp:correct-horse%40battery@mail.example.com",
        "Y29ycmVjdC1ob3JzZUBiYXR0ZXJ5",  # in AUTH LOGIN
        "AGlkcABjb3JyZWN0LWhvcnNlQGJhdHRlcnk=",  # in AUTH PLAIN
    ],
)
async def test_secrets_are_masked_however_another_server_repeats_them(form: str) -> None:
    async def repeats(_: Context) -> Findings:
        yield error("refused", f"The server said: 535 {form} is \x1b[31mwrong.", f"Do not use {form}.")

    configured = load(smtp_url=f"smtp://idp:{PASSWORD}@mail.example.com")
    (result,) = await examine([check(repeats)], Context(settings=configured))
    direct = found("one", "One", [error("refused", form, form)], configured)
    assert form not in str(result)
    assert form not in str(direct)
    assert "\x1b" not in str(result)
    assert "***" in result.findings[0].text


def test_the_exit_code_is_that_of_the_worst_finding() -> None:
    levels = {0: [ok("a"), note("a", "b", "c")], 1: [warning("a", "b", "c"), ok("a")], 2: [error("a", "b", "c")]}
    for code, findings in levels.items():
        assert exit_code([found("one", "One", findings), found("two", "Two", [])]) == code
    assert exit_code([]) == 0


#: The functions whose first or second argument is the name of a finding.
MAKERS = ("note", "warning", "error", "last", "level", "judge")


def _texts(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", str(part.value)):
                yield str(part.value)


def _names() -> set[str]:
    """Return the names of findings in the code."""
    names = {rule.name for rule in RULES} | {"fsync_off", "full_page_writes_off"}
    for path in [*Path(idp.doctor.__file__).parent.glob("*.py"), ROOT / "idp/cli/doctor.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MAKERS:
                names |= set(_texts(node.args[:2]))
    return names | set(smtp.NAMES.values())


def test_the_page_describes_every_check_and_every_finding() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    _, *sections = re.split(r"^## ", page, flags=re.MULTILINE)
    assert [section.partition("\n")[0] for section in sections] == [check.name for check in CHECKS]
    listed = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+)+)`", page))
    assert listed - {"pg_monitor"} == _names()


def test_names_of_checks_are_unique() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
