"""Runs one check, as `idp doctor` does."""

from typing import Any

from idp.doctor.checks import CHECKS
from idp.doctor.examination import examine
from idp.doctor.models import Context, Finding, Level, Needs
from idp.settings import load

#: The name and the level of a finding.
Named = tuple[str, Level]


async def run(name: str, *, provides: Needs = Needs.RECORDS, **options: Any) -> list[Finding]:
    """Run a check, and return what it found.

    Args:
        options: attributes of the context, and settings by name.
    """
    named = {key: options.pop(key) for key in Context.__struct_fields__ if key in options}
    context = Context(settings=load(**options), provides=provides, **named)
    (result,) = await examine([check for check in CHECKS if check.name == name], context)
    assert not result.skipped
    return result.findings


def named(findings: list[Finding]) -> set[Named]:
    """Return the names and levels of what is wrong. Each must say how to mend it."""
    bad = [finding for finding in findings if finding.level is not Level.OK]
    assert all(finding.name and finding.text.endswith((".", ")")) and finding.mend for finding in bad)
    return {(finding.name, finding.level) for finding in bad}


def one(findings: list[Finding], name: str) -> Finding:
    """Return the only finding with this name."""
    (found,) = [finding for finding in findings if finding.name == name]
    return found
