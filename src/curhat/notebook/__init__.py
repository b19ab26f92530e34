"""A mitra's own texts: canned answers to insert into a chat, and one private note for each customer of a past session.

Guarantees:
    Only the mitra who wrote these texts reads them. No operation of the Control Center returns them, and the service
    writes them into no log, audit entry, event, push or transcript.
    A mitra reads and writes a note only through a session that this mitra had with the customer. So a mitra never
    learns the id of a customer (X.4), and can write no note about a stranger.
    A device that shows an old text cannot overwrite a newer text: it sends the version of the text that it read.
    A mitra has at most MAX_ANSWERS canned answers. The database forbids more.
    The primary key of customer_notes begins with the customer. If the row of a customer is deleted, PostgreSQL deletes
    the notes about the customer. Nothing erases a customer yet, so this package has no function for that.
Relies on:
    The primary keys of canned_answers and customer_notes, and an advisory lock per list or note.
"""
