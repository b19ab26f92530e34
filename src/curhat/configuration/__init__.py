"""The five values that operators change while the service runs (X.5), and the history of each.

Guarantees
    There are exactly five rows, and the code and the database name the same five. `change` writes only a value of the
    right type and within the bounds. In the same transaction it writes who changed the row from what to what.
    A change applies to what starts after it: the step that opens a window reads the value and stores it with the
    window.
"""
