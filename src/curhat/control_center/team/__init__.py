"""The team: admins invite operators, change roles, reset, sign out and deactivate (record 0124).

Guarantees:
    One active admin always remains. The trigger `operators_keep_an_active_admin` forbids everything else.
    Nobody changes the own role, and nobody resets or deactivates the own account here.
    A link works once, and at most LINK_LIFETIME_SECONDS. No table and no log contains the link's secret.
    Each change is in the audit, in the transaction of the change.
Locks:
    The lock of the active admins comes before the rows of `operators`.
"""
