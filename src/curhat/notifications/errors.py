"""What this room refuses."""

from curhat.kit.errors import BusinessError


class NoPushSubscription(BusinessError):
    """A test notification has nowhere to go."""

    code = "no_push_subscription"
    status = 409
    detail = "No device has subscribed to notifications. Allow them, subscribe, then try again."
