"""Asking name servers for TXT and MX records. The one module that uses dnspython."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from idp.errors import RemoteError
from idp.settings import settings, split_resolver

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

#: Seconds for one question, with all attempts at all name servers; and for one attempt.
SECONDS, ATTEMPT_SECONDS = 5.0, 2.0


class ResolverError(RemoteError):
    """The name servers did not answer, or their answer is no answer. It says nothing about the record."""


@cache
def _resolver(address: str | None) -> "Resolver":
    """Return a resolver.

    Args:
        address: of the name server; None: those of the system.

    Raises:
        ResolverError: the system names none.
    """
    # Imported late, because it is slow, and few servers verify domains.
    from dns.asyncresolver import Resolver
    from dns.resolver import NoResolverConfiguration

    try:
        resolver = Resolver(configure=address is None)
    except NoResolverConfiguration as error:
        raise ResolverError("This server has no name server. Set IDP_DNS_RESOLVER.") from error
    if address is not None:
        host, resolver.port = split_resolver(address)
        resolver.nameservers = [host]
    resolver.lifetime, resolver.timeout = SECONDS, ATTEMPT_SECONDS
    return resolver


async def txt(name: str) -> list[str]:
    """Return the TXT records of a name, each as one text. Empty if there is none, or no such name.

    Raises:
        ResolverError: the name servers did not answer.
    """
    return [b"".join(record.strings).decode("utf-8", "replace") for record in await _records(name, "TXT")]


async def mx(name: str) -> list[str]:
    """Return the mail servers of a name, the preferred first; ``.`` says that it takes no mail (RFC 7505).

    Raises:
        ResolverError: the name servers did not answer.
    """
    found = sorted(await _records(name, "MX"), key=lambda record: int(record.preference))
    return [record.exchange.to_text(omit_final_dot=True).lower() for record in found]


async def _records(name: str, kind: str) -> Sequence[Any]:
    """Return the records of a name. Empty if there is none, or no such name."""
    from dns.exception import DNSException
    from dns.resolver import NXDOMAIN

    if settings().isolated:
        raise ResolverError("IDP_ISOLATED is set.")
    try:
        answer = await _resolver(settings().dns_resolver).resolve(name, kind, search=False, raise_on_no_answer=False)
    except NXDOMAIN:
        return []
    except (DNSException, OSError, EOFError) as error:
        raise ResolverError(
            f"The name servers of the domain do not answer as they should: {type(error).__name__}."
        ) from error
    return list(answer.rrset or ())
