"""Sender-constrained tokens: a token is bound to a key, and its user proves possession of that key.

:class:`~idp.oauth.binding.confirmation.Confirmation` names the key, in tokens and in the database. A proof is a DPoP
header (:mod:`idp.oauth.binding.dpop`, RFC 9449).
"""
