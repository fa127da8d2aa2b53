"""Redirect URIs of other systems, which allow patterns."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from idp.migration.models import Export


def exact(export: Export, what: str, uris: Iterable[str], root: str = "") -> list[str]:
    """Return the URIs without patterns, which are noted.

    Args:
        root: the URL that relative ones belong to.
    """
    whole = [f"{root.rstrip('/')}{uri}" if uri.startswith("/") else uri for uri in dict.fromkeys(map(str.strip, uris))]
    if patterns := [uri for uri in whole if "*" in uri or uri == "+"]:
        export.skip(what, f"Patterns are not accepted. List each redirect URI instead of: {' '.join(patterns)}")
    return [uri for uri in whole if uri and uri not in patterns]


def application_type(uris: Iterable[str]) -> str:
    """Return the type of application that may have all of the URIs: ``native`` for those of an app."""
    native = any(urlsplit(uri).scheme not in ("https", "http") for uri in uris)
    return "native" if native else "web"
