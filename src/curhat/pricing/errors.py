"""The refusal that this package raises."""

from curhat.kit.errors import BusinessError


class TrialUsed(BusinessError):
    code = "trial_used"
    status = 409
    detail = "The free trial is used up, or was tried three times in 24 hours. Choose another offer."
