"""Moving here from Keycloak or Auth0: exports of the other system become configuration and users of this one.

:mod:`idp.migration.keycloak` and :mod:`idp.migration.auth0` translate an export to an
:class:`idp.migration.models.Export`. :mod:`idp.migration.configuration` plans and applies its configuration as one of
files, :mod:`idp.migration.people` imports its users, and :mod:`idp.migration.comparison` compares the other issuer with
this one. docs/decisions/0102-migration.md has the reasons.
"""
