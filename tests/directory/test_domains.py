"""The domains of organizations, at a real name server on loopback."""

import asyncio
import secrets
from typing import Any

import pytest

from idp.accounts.addresses import InvalidEmailError
from idp.directory import domain_checks, domains, organizations
from idp.directory.errors import (
    DomainClaimedError,
    DomainNotVerifiedError,
    DomainTakenError,
    UnknownDomainError,
    UnknownOrganizationError,
)
from idp.directory.models import Domain
from idp.errors import TooManyRequestsError
from idp.ids import uuid7
from idp.infra import dns
from idp.infra.db.engine import execute, fetch
from idp.settings import Settings, settings
from tests.support.directory import an_organization
from tests.support.nameserver import Nameserver


def a_name() -> str:
    return f"{secrets.token_hex(8)}.example"


async def claimed(name: str | None = None) -> Domain:
    return await domains.claim((await an_organization()).id, a_name() if name is None else name)


async def verified(nameserver: Nameserver, name: str | None = None) -> Domain:
    domain = await claimed(name)
    nameserver.records[domains.record_name(domain.domain)] = [domains.record_value(domain.token)]
    return await domains.verify(domain.id)


async def events(domain: Domain) -> list[str]:
    rows = await fetch(
        "SELECT event FROM audit_event WHERE detail ->> 'domain_id' = $1 ORDER BY at, id", str(domain.id)
    )
    return [row["event"] for row in rows]


async def test_a_domain_from_its_claim_to_its_end(db: str, nameserver: Nameserver) -> None:
    domain = await claimed()
    assert (domain.verified_at, domain.enforced, len(domain.token) >= 22) == (None, False, True)
    name = domains.record_name(domain.domain)
    for records in (None, [], ["something else"], [domain.token], [f"x{domains.record_value(domain.token)}"]):
        if records is not None:
            nameserver.records[name] = records
        with pytest.raises(DomainNotVerifiedError, match=name):
            await domains.verify(domain.id)
    with pytest.raises(DomainNotVerifiedError):
        await domains.enforce(domain.id, enforced=True)
    nameserver.records[name] = ["v=spf1 -all", domains.record_value(domain.token)]
    done = await domains.verify(domain.id)
    assert done.verified_at is not None
    assert (await domains.verify(domain.id)).verified_at == done.verified_at
    assert (await domains.enforce(domain.id, enforced=True)).enforced
    assert not (await domains.enforce(domain.id, enforced=False)).enforced
    await domains.remove(domain.id)
    for change in (domains.verify(domain.id), domains.remove(domain.id), domains.enforce(domain.id, enforced=True)):
        with pytest.raises(UnknownDomainError):
            await change
    assert await events(domain) == [
        f"organization_domain_{what}" for what in ("claimed", "verified", "enforced", "released", "removed")
    ]


@pytest.mark.parametrize(
    ("entered", "stored"),
    [("Example.COM", "example.com"), ("bücher.example.", "xn--bcher-kva.example"), (" a.b.example ", "a.b.example")],
)
async def test_domains_are_stored_as_in_addresses(db: str, entered: str, stored: str) -> None:
    assert (await claimed(entered)).domain == stored


@pytest.mark.parametrize(
    "name",
    {
        "empty": "",
        "one label": "example",
        "address": "a@example.com",
        "number": "192.0.2.1",
        "literal": "[192.0.2.1]",
        "NUL": "exa\0mple.com",
        "space": "exa mple.com",
        "override": "example\u202e.com",
        "invisible": "exam\u3164ple.com",
        "label": f"{'a' * 64}.example",
        "long": ".".join(["a" * 60] * 4) + ".example",
        "wildcard": "*.example.com",
        "underscore": "_idp-challenge.example.com",
        "surrogate": "a\ud800.example",
    }.items(),
    ids=lambda item: item[0],
)
async def test_what_is_no_domain(db: str, name: tuple[str, str]) -> None:
    with pytest.raises((InvalidEmailError, DomainClaimedError)):
        await claimed(name[1])


async def test_the_first_that_proves_it_has_the_domain(db: str, nameserver: Nameserver) -> None:
    """Others may claim it, and are told after they have proved it too. With its end it is free."""
    name = a_name()
    first, second = await claimed(name), await claimed(name)
    assert first.token != second.token
    both = [domains.record_value(each.token) for each in (first, second)]
    nameserver.records[domains.record_name(first.domain)] = both[:1]
    assert (await domains.verify(first.id)).verified_at is not None
    with pytest.raises(DomainNotVerifiedError):
        await domains.verify(second.id)
    nameserver.records[domains.record_name(first.domain)] = both
    with pytest.raises(DomainTakenError):
        await domains.verify(second.id)
    assert (await domains.found(second.id)).verified_at is None
    await organizations.delete(first.organization_id)
    assert (await domains.verify(second.id)).verified_at is not None


async def test_two_that_prove_it_at_once(db: str, nameserver: Nameserver) -> None:
    name = a_name()
    claims = [await claimed(name) for _ in range(4)]
    nameserver.records[domains.record_name(claims[0].domain)] = [domains.record_value(each.token) for each in claims]
    found = await asyncio.gather(*(domains.verify(each.id) for each in claims), return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["Domain", *["DomainTakenError"] * 3]
    assert len(await fetch("SELECT FROM organization_domain WHERE domain = $1 AND verified_at IS NOT NULL", name)) == 1


async def test_a_domain_is_claimed_once(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = await claimed()
    with pytest.raises(DomainClaimedError):
        await domains.claim(domain.organization_id, domain.domain.upper())
    monkeypatch.setattr(domains, "MAX_DOMAINS", 2)
    await domains.claim(domain.organization_id, a_name())
    with pytest.raises(DomainClaimedError):
        await domains.claim(domain.organization_id, a_name())
    with pytest.raises(UnknownOrganizationError):
        await domains.claim(uuid7(), a_name())


async def test_name_servers_that_do_not_answer(
    db: str, nameserver: Nameserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They prove nothing, and take a bounded time."""
    dns._resolver.cache_clear()
    monkeypatch.setattr(dns, "SECONDS", 0.2)
    domain = await claimed()
    name = domains.record_name(domain.domain)
    for way in (nameserver.silent, nameserver.failing, nameserver.lying):
        way.add(name)
        with pytest.raises(DomainNotVerifiedError, match="do not answer"):
            await domains.verify(domain.id)
        way.remove(name)
    assert (await domains.found(domain.id)).checked_at is None
    dns._resolver.cache_clear()


async def test_a_long_answer_comes_by_tcp(db: str, nameserver: Nameserver) -> None:
    domain = await claimed()
    name = domains.record_name(domain.domain)
    nameserver.truncated.add(name)
    nameserver.records[name] = [*(f"{'x' * 900}{number}" for number in range(20)), domains.record_value(domain.token)]
    assert (await domains.verify(domain.id)).verified_at is not None
    assert nameserver.asked[name] == 2


async def test_a_name_server_that_is_not_there(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = await claimed()
    config: Settings = settings().model_copy(update={"dns_resolver": "127.0.0.1:9"})
    monkeypatch.setattr(dns, "settings", lambda: config)
    monkeypatch.setattr(dns, "SECONDS", 0.2)
    dns._resolver.cache_clear()
    with pytest.raises(DomainNotVerifiedError, match="do not answer"):
        await domains.verify(domain.id)
    dns._resolver.cache_clear()


async def test_questions_are_limited(db: str, nameserver: Nameserver) -> None:
    domain = await claimed()
    for _ in range(domains.CHECKS.burst):
        with pytest.raises(DomainNotVerifiedError):
            await domains.verify(domain.id)
    with pytest.raises(TooManyRequestsError):
        await domains.verify(domain.id)


# Checks of verified domains


async def due(domain: Domain, **columns: str) -> None:
    """Let a domain be due, with times moved."""
    changes = ", ".join(f"{name} = now() - interval '{ago}'" for name, ago in columns.items())
    await execute(
        f"UPDATE organization_domain SET next_check_at = now(){', ' if changes else ''}{changes} WHERE id = $1",
        domain.id,
    )


async def check_all() -> None:
    while await domain_checks.check_due():
        pass


async def test_a_record_that_is_missing_for_too_long(db: str, nameserver: Nameserver) -> None:
    domain = await verified(nameserver)
    name = domains.record_name(domain.domain)
    await due(domain)
    await check_all()
    assert (await domains.found(domain.id)).missing_since is None
    records = nameserver.records.pop(name)
    await due(domain)
    await check_all()
    missing = await domains.found(domain.id)
    assert missing.missing_since is not None
    assert missing.verified_at == domain.verified_at
    await due(domain)
    await check_all()
    assert (await domains.found(domain.id)).missing_since == missing.missing_since
    nameserver.records[name] = records
    await due(domain)
    await check_all()
    assert (await domains.found(domain.id)).missing_since is None
    del nameserver.records[name]
    await due(domain)
    await check_all()
    await due(domain, missing_since="8 days")
    await check_all()
    assert (await domains.found(domain.id)).verified_at is None
    assert (await events(domain))[2:] == [
        "organization_domain_missing", "organization_domain_missing", "organization_domain_lost",
    ]  # fmt: skip
    # The name is free, and the claim is not forgotten.
    other = await verified(nameserver, domain.domain)
    assert other.verified_at is not None


async def test_no_answer_changes_nothing(db: str, nameserver: Nameserver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after the time for which a record may be missing."""
    domain = await verified(nameserver)
    nameserver.failing.add(domains.record_name(domain.domain))
    await due(domain, missing_since="30 days")
    await check_all()
    kept = await domains.found(domain.id)
    assert kept.verified_at == domain.verified_at
    assert kept.next_check_at is not None
    nameserver.failing.clear()


async def test_each_is_checked_by_one_worker(db: str, nameserver: Nameserver) -> None:
    made = [await verified(nameserver) for _ in range(6)]
    before = nameserver.asked.copy()
    for domain in made:
        await due(domain)
    await asyncio.gather(*(check_all() for _ in range(4)))
    asked = nameserver.asked - before
    assert [asked[domains.record_name(domain.domain)] for domain in made] == [1] * 6


async def test_a_domain_that_is_removed_while_it_is_checked(db: str, nameserver: Nameserver) -> None:
    domain = await verified(nameserver)
    await domains.remove(domain.id)
    await domains.check(domain)
    nameserver.records.clear()
    await domains.check(domain)
    assert (await events(domain))[-1] == "organization_domain_removed"


@pytest.mark.parametrize(
    ("value", "split"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("[::1]:53", ("::1", 53)),
        ("::1", ("::1", 53)),
    ],
)
def test_the_name_server_of_the_settings(value: str, split: Any) -> None:
    from idp.settings import split_resolver

    assert Settings(dns_resolver=value).dns_resolver == value
    assert split_resolver(value) == split


@pytest.mark.parametrize("value", ["resolver.example", "192.0.2.53:0", "192.0.2.53:99999", "1.2.3.4:x", " "])
def test_what_is_no_name_server(value: str) -> None:
    with pytest.raises(ValueError, match="dns_resolver"):
        Settings(dns_resolver=value)
