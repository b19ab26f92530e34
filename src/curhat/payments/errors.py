"""The errors that payments raise."""

from curhat.kit.errors import BusinessError


class JourneyInProgress(BusinessError):
    """Fields: payment_id of the open payment, or session_id of the running session."""

    code = "journey_in_progress"
    status = 409
    detail = "A journey is already under way; finish or leave it first. Nothing new was opened."


class PaymentDeclined(BusinessError):
    code = "payment_declined"
    status = 402
    detail = "The payment was declined and nothing was taken. You can try again while the payment is open."


class PaymentExpired(BusinessError):
    code = "payment_expired"
    status = 409
    detail = (
        "The time to pay is over. Open a new payment. What is taken for this one after all is given back."
    )


class PaymentClosed(BusinessError):
    """Fields: payment_status."""

    code = "payment_closed"
    status = 409
    detail = "This payment was left or is finished. Open a new payment."


class PaymentConfirming(BusinessError):
    code = "payment_confirming"
    status = 409
    detail = "The payment is being confirmed right now; wait for its answer."


class PaymentConfirmed(BusinessError):
    code = "payment_confirmed"
    status = 409
    detail = "The payment is already confirmed. While searching, cancel the search instead."


class WebhookRefused(BusinessError):
    code = "webhook_refused"
    status = 403
    detail = "This web hook does not prove that it comes from the payment gateway."


class CaseOpen(BusinessError):
    """Fields: case_id."""

    code = "case_open"
    status = 409
    detail = "This payment already has a case that waits for a decision or an approval."


class NothingToRefund(BusinessError):
    code = "nothing_to_refund"
    status = 409
    detail = "Nothing was taken for this payment, or all of it is given back. Decide no_refund."


class RefundInTheWay(BusinessError):
    """Only while a new version is being deployed: see the migration several_refunds_of_a_charge."""

    code = "refund_in_the_way"
    status = 409
    detail = "This charge already has a refund. Try again when the new version is fully deployed."
