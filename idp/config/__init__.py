"""The configuration as files: exported, compared with the database, and applied in one transaction.

:mod:`idp.config.kinds` is the table of what a file can have. :mod:`idp.config.document` reads files,
:mod:`idp.config.planning` compares them with the database, :mod:`idp.config.applying` makes the database equal,
:mod:`idp.config.export` writes a file. docs/decisions/0094-configuration-as-files.md has the reasons.
"""
