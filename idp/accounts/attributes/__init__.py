"""Attributes of users that the operator declares, and their typed values.

:mod:`~idp.accounts.attributes.declaration` changes the declared attributes, :mod:`~idp.accounts.attributes.registry`
has them in memory. :mod:`~idp.accounts.attributes.service` reads and changes the values of a user. Which values an
attribute accepts is decided in :mod:`~idp.accounts.attributes.values` alone.
"""
