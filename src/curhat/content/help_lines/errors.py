"""The errors with which this package refuses a request."""

from curhat.kit.errors import BusinessError


class OwnProposal(BusinessError):
    code = "own_proposal"
    status = 403
    detail = "Nobody publishes the list that they proposed. Ask another admin."


class AlreadyPublished(BusinessError):
    code = "already_published"
    status = 409
    detail = "Another admin has published this version already."


class NewerProposal(BusinessError):
    """The field of the error is `newest`, the number of the newest version."""

    code = "newer_proposal"
    status = 409
    detail = "A newer version was proposed after this one. Look at the newest version."
