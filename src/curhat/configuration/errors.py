"""The error with which this package refuses a change."""

from curhat.kit.errors import BusinessError


class ChangedMeanwhile(BusinessError):
    """The fields of the error are the row's current value, updated_at and updated_by."""

    code = "changed_meanwhile"
    status = 409
    detail = "Somebody changed this after you read it. Look at the value it has now, and decide again."
