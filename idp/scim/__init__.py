"""SCIM 2.0 (RFC 7643, RFC 7644, RFC 9865): other systems manage users and groups, at ``/scim/v2``.

Thin: the changes are those of :mod:`idp.accounts` and :mod:`idp.directory`. What is here: the schema (``attributes``),
filters and paths (``filters``), their SQL (``repository/predicates``), PATCH (``patch``), representations, and the
tokens with which other systems authenticate (docs/decisions/0078-scim.md). A token of an organization has other users
and groups: ``organization_users`` and ``organization_groups``.
"""
