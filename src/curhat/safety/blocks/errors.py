"""The errors that refuse a block."""

from curhat.kit.errors import BusinessError


class TooManyBlocks(BusinessError):
    code = "too_many_blocks"
    status = 409
    detail = (
        "You have blocked as many people as possible. Undo a block that you no longer need, then try again."
    )


class SessionRunning(BusinessError):
    """Fields: session_id of the running session."""

    code = "session_running"
    status = 409
    detail = (
        "You have a chat with this person that still runs. Leave it with a block, or block after its end."
    )
