"""One file a kind of provider. To add one, add a file with a ``PROVIDER``: the kind has the name of the file."""

from importlib import import_module
from pkgutil import iter_modules

from idp.federation.models import Upstream
from idp.federation.providers.base import Provider

#: Every kind by its name.
KINDS: dict[str, Provider] = {
    module.name: import_module(f"{__name__}.{module.name}").PROVIDER
    for module in iter_modules(__path__)
    if module.name != "base"
}


def reauthenticates(upstream: Upstream) -> bool:
    """Whether it signs people in anew when it is asked to, and says when it did."""
    return KINDS[upstream.kind].reauthenticates and not upstream.lacks("reauthenticates")
