"""The errors that pairing raises."""

from typing import Any

from curhat.kit.errors import BusinessError


class NoMitraAvailable(BusinessError):
    code = "no_mitra_available"
    status = 409
    detail = "No bestie is available right now. Nothing was charged. Try again when one is."


class MitraUnavailable(BusinessError):
    """Fields: mitra_status (`offline` or `full`), other_available."""

    code = "mitra_unavailable"
    status = 409
    detail = "Bestie sedang tidak online. Nothing was charged."

    def problem(self) -> dict[str, Any]:
        """Return the body. By contract, `status` in this body is the mitra's status instead of the HTTP status."""
        return {**super().problem(), "status": self.fields["mitra_status"]}


class FallbackDecided(BusinessError):
    """Fields: fallback_status."""

    code = "fallback_decided"
    status = 409
    detail = "There is no other bestie to choose here any more: look at the payment for what became of it."


class PairingDecided(BusinessError):
    """Fields: pairing_status, session_id."""

    code = "pairing_decided"
    status = 409
    detail = "The search is over already: look at its outcome."


class AlreadyTaken(BusinessError):
    code = "already_taken"
    status = 409
    detail = "Sudah diambil bestie lain."


class RequestClosed(BusinessError):
    """Fields: close_reason."""

    code = "request_closed"
    status = 409
    detail = "This request is closed: decided, withdrawn, or its time is over."


class MitraOffline(BusinessError):
    code = "mitra_offline"
    status = 409
    detail = "Your toggle is off. Go online first, then accept."


class AtCapacity(BusinessError):
    code = "at_capacity"
    status = 409
    detail = "You are in as many chats as you take at once. End one, or wait until one ends."
