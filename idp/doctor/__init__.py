"""Examines a server and its surroundings, and says how to mend what is wrong: `idp doctor`, and the console.

:mod:`idp.doctor.checks` is the table of checks; each check is in the file of its subject. No check changes anything.
"""
