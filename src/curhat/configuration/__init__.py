"""The five values that operators change while the service runs (X.5), and the history of each value.

Guarantees:
    There are exactly five rows. The code and the database have the same five keys.
    `change` writes only a value of the right type and within the bounds. In the same transaction, `change` records who
    changed the row, the old value and the new value.
    A change applies only to time windows that open after the change. The step that opens a window reads the value. The
    step that opens a window also stores the resulting deadline or default action with the pairing, payment or
    extension. Later steps do not read the value again.
"""
