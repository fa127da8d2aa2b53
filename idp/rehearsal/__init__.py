"""Rehearses an upgrade on a copy of the database: `idp db rehearse` (docs/upgrades.md).

:mod:`idp.rehearsal.copy` makes the copy, :mod:`idp.rehearsal.measure` runs the migrations on it and
:mod:`idp.rehearsal.verdict` judges them. :mod:`idp.rehearsal.servers` starts the new and the old version on the copy,
where :mod:`idp.rehearsal.smoke` signs in.
"""
