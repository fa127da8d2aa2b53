"""The directory: the groups, organizations and roles of users.

A group may be in another group; whoever is in a group is in all groups above it. A role may contain other roles, and
is given to users and to groups. A role of an organization is given to its members only. What follows for a user is
computed in one place, :mod:`idp.directory.effective`.

Roles of administrators of this server are something else (:mod:`idp.admin.roles`).
"""
