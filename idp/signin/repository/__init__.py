"""Every statement on sessions, sign-in flows and devices, a module a table (docs/decisions/0045-repositories.md).

Factors have a separate repository (:mod:`idp.signin.factors.repository`). Each change is one conditional statement,
whose function returns what was changed: nothing if the condition is false.
"""
