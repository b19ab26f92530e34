"""The refusal of configuration."""

from curhat.kit.errors import BusinessError


class ChangedMeanwhile(BusinessError):
    """Its fields are value, updated_at and updated_by as they are now."""

    code = "changed_meanwhile"
    status = 409
    detail = "Somebody changed this after you read it. Look at the value it has now, and decide again."
