"""Tests of a provider without a user's sign-in: by administrators, and by ``idp doctor``."""

import asyncio
from collections.abc import Sequence

import msgspec

from idp.audit.events import record
from idp.errors import IdpError, VersionConflictError
from idp.federation import providers, registry, repository
from idp.federation.models import Finding, Upstream
from idp.infra.db.engine import transaction

#: Time limit of a test in seconds.
SECONDS = 15.0


async def run(upstream: Upstream, seconds: float = SECONDS) -> list[Finding]:
    """Test a provider. The last finding of a test that could not go on is its failure."""
    found = list[Finding]()
    try:
        async with asyncio.timeout(seconds):
            async for finding in providers.KINDS[upstream.kind].test(upstream):
                found.append(finding)
    except IdpError as error:
        found.append(Finding(error.description, passed=False))
    except TimeoutError:
        found.append(Finding("It does not answer in time.", passed=False))
    return found


def passed(findings: Sequence[Finding]) -> bool:
    """Return whether users can sign in, as far as a test can tell."""
    return all(finding.passed for finding in findings)


async def test(upstream_id: str) -> list[Finding] | None:
    """Test a provider of the database, disabled or not, and store the findings. Returns None if there is none.

    Raises:
        VersionConflictError: it has changed meanwhile.
    """
    version = await repository.version_of_upstream(upstream_id)
    upstream = next((one for one in await registry.load_stored() if one.id == upstream_id), None)
    if version is None or upstream is None:
        return None
    findings = await run(upstream)
    async with transaction():
        if not await repository.store_test(upstream_id, msgspec.json.encode(findings).decode(), version):
            raise VersionConflictError
        outcome = "success" if passed(findings) else "failure"
        await record("upstream_tested", outcome=outcome, detail={"upstream": upstream_id})
    return findings
