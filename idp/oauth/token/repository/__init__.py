"""The statements of the token endpoint, by what they consume. Each is one round trip.

A code or token is consumed by one conditional statement whose predicate has every condition, including the expiry by
the database's clock. A statement that finds no row has changed nothing.
"""
