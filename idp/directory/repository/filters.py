"""Filters that lists of groups, organizations and roles share."""

#: The beginning of a name. Its key is in the order of code points, so that an index finds all of them.
NAME = "{0} >= {{}} AND {0} < ({{}} || chr(1114111))"
