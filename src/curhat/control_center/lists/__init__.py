"""Code that the lists of the Control Center share: filters, search, pages by key, and export as CSV.

Guarantees
    A page begins after the key of the previous page's last row, along an index in the list's order. So page 500 costs
    the same as page 1.
    Our code writes the text of every condition. A value that a client sends is always a parameter.
Steps of a request
    A function of the list's own package builds `filters.Filters` from the query. `query_values` checks the query, and
    `search` reads `q`.
    Another function of that package reads a page with these filters, from a cursor on (`cursors`).
    `answers.ListRequest` calls that function. It returns one page as JSON or the whole list as CSV (`csv_export`).
"""
