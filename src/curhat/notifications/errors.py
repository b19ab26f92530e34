"""The errors with which this package refuses a request."""

from curhat.kit.errors import BusinessError


class NoPushSubscription(BusinessError):
    """The mitra has no subscription to send a test notification to."""

    code = "no_push_subscription"
    status = 409
    detail = "No device has subscribed to notifications. Allow them, subscribe, then try again."
