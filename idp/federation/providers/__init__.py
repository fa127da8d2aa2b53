"""One file per kind of provider. To add a kind, add a file with a ``PROVIDER``; the file name is the kind."""

from importlib import import_module
from pkgutil import iter_modules

import msgspec

from idp.federation.errors import InvalidUpstreamError
from idp.federation.models import Upstream
from idp.federation.providers.base import Provider
from idp.federation.providers.ldap import DirectoryProvider

#: All kinds by name.
KINDS: dict[str, Provider] = {
    module.name: import_module(f"{__name__}.{module.name}").PROVIDER
    for module in iter_modules(__path__)
    if module.name != "base"
}


def reauthenticates(upstream: Upstream) -> bool:
    """Return whether the provider reauthenticates on request and reports ``auth_time``."""
    return KINDS[upstream.kind].reauthenticates and not upstream.lacks("reauthenticates")


def with_issuer(upstream: Upstream) -> Upstream:
    """Return an upstream with its issuer, which for some kinds follows from the rest of the configuration.

    Raises:
        InvalidUpstreamError: it has another issuer.
    """
    provider = KINDS[upstream.kind]
    if not isinstance(provider, DirectoryProvider):
        return upstream
    issuer = provider.issuer_of(upstream)
    if upstream.issuer not in ("", issuer):
        raise InvalidUpstreamError("The issuer of a directory follows from its id and id_attribute. Add another one.")
    return msgspec.structs.replace(upstream, issuer=issuer)
