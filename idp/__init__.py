"""An OAuth 2.0 and OpenID Connect identity provider."""

#: The only place that holds the version. The package metadata, `idp --version` and the OpenAPI document read it.
__version__ = "0.2.0"
