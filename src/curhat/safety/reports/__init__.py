"""Reports about the other side of a chat, concerns of mitras, and notices about decisions (T.2 to T.4, H.3).

Guarantees:
    Each side reports a session at most once, while the chat's text exists. The text of a session with an open report or
    concern is held, and for 90 days after the last step (the view `held_sessions`).
    The first decision about a report wins. A suspension for good takes effect only when another operator has approved
    it. Another operator than the one who decided decides the appeal, and there is at most one appeal. The database
    forbids everything else (the migration that creates the table `reports`).
    A notice to the reported person names the rule, and never who reported or when.
Concurrency:
    The step that makes a report locks the session's payment and then the session. A step that deletes text locks the
    session too, so it sees the report, or the report is refused with `text_gone`.
    A step of an operator or an appeal locks the report's row before every other row.
Relies on:
    The package `journeys` suspends people and refuses the next payment (journeys/suspensions.py). The Control Center
    authorises and audits the steps of operators (control_center/reports).
"""
