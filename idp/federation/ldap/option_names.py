"""The options of a directory. Without the library that speaks LDAP, which is slow to import."""

from typing import Final

#: The beginning of the issuers of directories.
PREFIX: Final = "ldap:"
#: The options with their labels, for the console.
OPTIONS: Final = {
    "url": "URLs, such as ldaps://dc1.example.com, separated by spaces; the first that answers is used",
    "type": "Type: openldap or active_directory",
    "start_tls": "StartTLS at ldap:// URLs: yes, or no for a server on this machine",
    "ca": "Certificate authorities as PEM; empty: those of IDP_OUTBOUND_CA_FILE and of the system",
    "base_dn": "Base DN below which users are",
    "user_filter": "Filter of users; {login} stands for what the user enters",
    "login_attributes": "Attributes that users sign in by, separated by spaces",
    "id_attribute": "Attribute that identifies a user for good",
    "email_domains": "Domains whose addresses are trusted, separated by spaces",
    "groups": "Groups: memberOf, member, uniqueMember, memberUid, nested or none",
    "group_base_dn": "Base DN below which groups are; empty: the same",
    "group_filter": "Filter of groups",
    "group_name": "The claim groups has: dn, or an attribute such as cn",
}
