"""The status of access tokens for resource servers that validate them offline.

:mod:`idp.oauth.status.endpoint` serves the revocation list, which :mod:`idp.oauth.status.revocation_list` makes.
"""
