"""The error with which this package refuses a rating."""

from curhat.kit.errors import BusinessError


class RatingClosed(BusinessError):
    code = "rating_closed"
    status = 409
    detail = "This chat cannot be rated: it is not over, its last day to rate has passed, or one side wrote nothing."
