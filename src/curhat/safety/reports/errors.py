"""The errors with which this package refuses a command."""

from curhat.kit.errors import BusinessError


class AlreadyReported(BusinessError):
    """The field of the error is the earlier report's report_id."""

    code = "already_reported"
    status = 409
    detail = "You have reported this chat already. We have your report."


class TextGone(BusinessError):
    code = "text_gone"
    status = 409
    detail = "The text of this chat is deleted, so nobody can look at a report about it."


class AppealClosed(BusinessError):
    code = "appeal_closed"
    status = 409
    detail = "An appeal against this is not possible, or its time is over."


class AlreadyAppealed(BusinessError):
    code = "already_appealed"
    status = 409
    detail = "You have appealed against this decision already."
