"""Mail templates: which mails there are, what is in them, and the templates that owners wrote in the console.

The template of a mail is that of the console, for its language or for all, else that in the operator's folder, else
the shipped one. Templates of the console are a small part of Jinja, in a sandbox (:mod:`idp.mail.templates.language`).
"""
