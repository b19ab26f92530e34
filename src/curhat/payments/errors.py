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
