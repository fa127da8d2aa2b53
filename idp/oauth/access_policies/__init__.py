"""Access policies: which users may use an application, from where, when, and after what sign-in.

A client without a policy may be used by everybody. :mod:`~idp.oauth.access_policies.decision` decides, wherever a user
or a token of a user comes to a client (docs/access-policy.md).
"""
