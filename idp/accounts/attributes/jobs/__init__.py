"""Changes of the values of all users: making an attribute searchable, or no longer, and deleting one.

A declaration changes at once, and notes a job. :mod:`~idp.accounts.attributes.jobs.runner` does it in the background.
"""
