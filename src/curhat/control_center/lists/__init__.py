"""The modules that the lists of the Control Center share: filters, search, pages by key, and export as CSV.

Guarantees:
    Each page begins after the key of the previous page's last row. PostgreSQL finds this key in an index that has the
    order of the list. So PostgreSQL reads page 500 as fast as page 1.
    The text of every condition comes from our code. A value that a client sends is always a parameter of the statement.
Steps of a request:
    Step 1: The filter function of the list's own package builds `filters.Filters` from the query parameters.
        `query_values` checks the parameters, and `search` reads the parameter `q`.
    Step 2: `answers.ListRequest` calls the page function of the list's package. The page function reads one page with
        these filters, beginning after a cursor (`cursors`).
    Step 3: `answers.ListRequest` answers with one page as JSON, or with the whole list as CSV (`csv_export`).
"""
