"""What tokens and responses say about a user: one evaluation for ID tokens, access tokens, userinfo and introspection.

The claims of a profile belong to the standard scopes. Groups and roles are computed from the directory. What a client
gets is decided by rules (:mod:`idp.oauth.claims.rules`); :mod:`idp.oauth.claims.evaluation` evaluates them.
"""
