"""The end of a session: how a client asks for it, and how clients learn of it.

:mod:`~idp.oauth.logout.rp_initiated` is the page to which a client sends the user's browser to sign out. Whatever ends
a session, :mod:`~idp.oauth.logout.announce` finds it and queues the logout tokens of
:mod:`~idp.oauth.logout.backchannel`. :mod:`~idp.oauth.logout.reach` says how far the end has reached.
:mod:`~idp.oauth.logout.frontchannel` has the frames by which the page afterwards tells the clients of the session.
:mod:`~idp.oauth.logout.from_upstream` ends sessions that ended at an upstream provider.
:mod:`~idp.oauth.logout.session_management` is how an application in the browser notices that the session changed.
"""
