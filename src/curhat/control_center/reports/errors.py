"""The errors with which the steps on reports are refused."""

from curhat.kit.errors import BusinessError


class ReportDecided(BusinessError):
    """The fields of the error are decision, decided_at and decided_by (the operator's e-mail)."""

    code = "report_decided"
    status = 409
    detail = "This report was decided already. Look at what was decided."


class NoSuspensionWaits(BusinessError):
    code = "nothing_to_approve"
    status = 409
    detail = "No suspension of this report waits for an approval."


class OwnDecision(BusinessError):
    code = "own_decision"
    status = 403
    detail = "Nobody approves the own decision, or decides an appeal against it. Ask another operator."


class NoAppealWaits(BusinessError):
    code = "no_appeal"
    status = 409
    detail = "No appeal against this decision waits."


class AppealDecided(BusinessError):
    """The fields of the error are decision, decided_at and decided_by (the operator's e-mail)."""

    code = "appeal_decided"
    status = 409
    detail = "The appeal was decided already. Look at what was decided."


class NoVitalInterest(BusinessError):
    code = "no_vital_interest"
    status = 409
    detail = "A phone number is revealed only for a concern, or for a report about danger or a minor."
