"""The errors with which this package refuses a request."""

from curhat.kit.errors import BusinessError


class TooManyWhatIfs(BusinessError):
    code = "too_many_what_ifs"
    status = 409
    detail = "Other what-ifs are waiting. Wait for their answers, or cancel one."


class WhatIfFinished(BusinessError):
    code = "what_if_finished"
    status = 409
    detail = "This what-if has ended already."
