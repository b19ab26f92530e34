"""The errors with which the review refuses a request."""

from curhat.kit.errors import BusinessError


class CaseDecided(BusinessError):
    """The fields of the error are decision, decided_at and decided_by (the operator's e-mail)."""

    code = "case_decided"
    status = 409
    detail = "This case was decided already. Look at what was decided."


class CaseChanged(BusinessError):
    """The fields of the error are the case's current version, reason and refundable_rp."""

    code = "changed_meanwhile"
    status = 409
    detail = "The money in question changed after you read this case. Look at it again, and then decide."


class NothingToApprove(BusinessError):
    code = "nothing_to_approve"
    status = 409
    detail = "No refund of this case waits for an approval."


class OwnRefund(BusinessError):
    code = "own_refund"
    status = 403
    detail = "Nobody approves the refund that they decided. Ask another operator."


class RefundNotFailed(BusinessError):
    code = "refund_not_failed"
    status = 409
    detail = "Only a refund that the gateway refused can be tried again."
