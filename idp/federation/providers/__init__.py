"""One file per kind of provider. To add a kind, add a file with a ``PROVIDER``; the file name is the kind."""

from importlib import import_module
from pkgutil import iter_modules

from idp.federation.models import Upstream
from idp.federation.providers.base import Provider

#: All kinds by name.
KINDS: dict[str, Provider] = {
    module.name: import_module(f"{__name__}.{module.name}").PROVIDER
    for module in iter_modules(__path__)
    if module.name != "base"
}


def reauthenticates(upstream: Upstream) -> bool:
    """Return whether the provider reauthenticates on request and reports ``auth_time``."""
    return KINDS[upstream.kind].reauthenticates and not upstream.lacks("reauthenticates")
