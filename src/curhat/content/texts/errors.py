"""The errors with which this package refuses a request."""

from curhat.kit.errors import BusinessError


class AcceptanceNeeded(BusinessError):
    """The field `kinds` lists the texts whose newest version the person has not accepted."""

    code = "acceptance_needed"
    status = 409
    detail = "First read and accept the texts in `kinds`."


class TextOutdated(BusinessError):
    """The fields are the `kind` and the `current_version` of the text."""

    code = "text_outdated"
    status = 409
    detail = "There is a newer version of this text. Read the newer version first."


class AdultsOnly(BusinessError):
    code = "adults_only"
    status = 403
    detail = "Only adults can use this service. Nothing was accepted, and nothing was kept."
