"""What the lists of the Control Center share: filters, search, pages by key, and the same list as CSV.

Guarantees
    A page begins after the key of the last row of the page before, along an index in the list's order. Page 500
    therefore costs what page 1 costs.
    The text of every condition is written in our code. What a client sends is always a parameter.
Steps of a request
    The list's own package builds `filters.Filters` from the query (`query_values` checks it, `search` reads `q`), reads
    a page with them and a cursor (`cursors`), and hands both to `answers.answer_list`, which answers with one page as
    JSON or with the whole list as CSV (`csv_export`).
"""
