"""The errors with which this package refuses a request."""

from curhat.kit.errors import BusinessError


class OwnAccount(BusinessError):
    code = "own_account"
    status = 409
    detail = "Nobody changes the own role or access here. Ask another admin."


class OperatorDisabled(BusinessError):
    code = "operator_disabled"
    status = 409
    detail = "This operator is deactivated. Activate the operator first."


class LinkInvalid(BusinessError):
    """The link was never made, was used, was replaced by a newer link, or has expired. The error does not say which."""

    code = "link_invalid"
    status = 409
    detail = "This link does not work any more. Ask an admin for a new one."
