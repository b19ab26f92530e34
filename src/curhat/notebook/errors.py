"""The error with which this package refuses a change."""

from curhat.kit.errors import BusinessError


class TextChangedMeanwhile(BusinessError):
    """The fields of the error are the fields of the current list or note."""

    code = "changed_meanwhile"
    status = 409
    detail = "You changed this on another device meanwhile. Look at the text that it has now."
