"""The queue of reports and concerns, and the steps of operators on them (T.3, T.4, H.3).

An operator decides a report once. A suspension for good waits for a second operator. Another operator than the one who
decided decides the appeal. Every look at chat text, every decision and every revealed phone number has an audit entry.
"""
