"""The errors with which this package refuses a request."""

from curhat.kit.errors import BusinessError


class CredentialsInvalid(BusinessError):
    """The e-mail is unknown, or the password is wrong, or the code is wrong, old or used.

    The error does not say which of these reasons applies.
    """

    code = "credentials_invalid"
    status = 401
    detail = "E-mail, password or code is not right. Check all of them and try again."


class TotpRequired(BusinessError):
    code = "totp_required"
    status = 401
    detail = "The password is right. Send it again together with the code of your authenticator app."


class TotpEnrolmentRequired(BusinessError):
    code = "totp_enrolment_required"
    status = 403
    detail = "Set up your authenticator app first: nothing else is open to an account without one."


class EmailTaken(BusinessError):
    code = "email_taken"
    status = 409
    detail = "There is an operator with this e-mail already."


class NoEnrolmentBegun(BusinessError):
    code = "no_enrolment_begun"
    status = 409
    detail = "There is no new secret to confirm. Begin by asking for one."


class PasswordChangeRequired(BusinessError):
    code = "password_change_required"
    status = 403
    detail = "Change your password first: somebody else has seen this one. Until then, nothing else is open."


class LastAdmin(BusinessError):
    code = "last_admin"
    status = 409
    detail = "This is the last admin who can sign in. Make somebody else an admin first."
