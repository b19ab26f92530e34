"""The second factor: secrets, codes, recovery codes and the QR code. Pure.

The server derives a secret from a salt in the database and from a key that is not in the database. So an attacker who
has only the database cannot sign in.
"""

import base64
import hashlib
import hmac
import io
import secrets
from datetime import datetime
from typing import Final
from uuid import UUID

import pyotp
import segno

STEP_SECONDS: Final = 30
# The clock of a phone can differ from the server's clock by up to MAX_CLOCK_ERROR_STEPS.
MAX_CLOCK_ERROR_STEPS: Final = 1
SALT_BYTES: Final = 16
RECOVERY_CODE_COUNT: Final = 10

_SECRET_PURPOSE: Final = b"curhat operators totp 1"
_RECOVERY_PURPOSE: Final = b"curhat operators recovery codes 1"
_SECRET_BYTES: Final = 20
_RECOVERY_BYTES: Final = 10
_ISSUER: Final = "Curhat Control Center"


def new_salt() -> bytes:
    """Generate the salt of a new secret. The database stores the salt."""
    return secrets.token_bytes(SALT_BYTES)


def secret_of(secret_key: bytes, operator_id: UUID, salt: bytes) -> str:
    """Derive the secret for the authenticator app, in base 32."""
    key = hmac.digest(secret_key, _SECRET_PURPOSE, hashlib.sha256)
    digest = hmac.digest(key, operator_id.bytes + salt, hashlib.sha256)
    return base64.b32encode(digest[:_SECRET_BYTES]).decode()


def step_of(secret: str, code: str, now: datetime, last_step: int) -> int | None:
    """Return the time step of a right code. Return None for a wrong or used code.

    The time step of a right code is near `now` and after `last_step`.
    """
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    step_now = int(now.timestamp()) // STEP_SECONDS
    found = None
    # Compare every step, so that the duration does not reveal which step matched.
    for step in range(step_now - MAX_CLOCK_ERROR_STEPS, step_now + MAX_CLOCK_ERROR_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()) and step > last_step:
            found = step
    return found


def otpauth_uri(secret: str, email: str) -> str:
    """Return the otpauth URI that the QR code contains."""
    return pyotp.TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=email, issuer_name=_ISSUER)


def qr_svg(text: str) -> str:
    """Draw a QR code as an SVG image."""
    image = io.BytesIO()
    segno.make_qr(text, error="m").save(image, kind="svg", scale=4, border=4, xmldecl=False, omitsize=False)
    return image.getvalue().decode().strip()


def new_recovery_codes() -> list[str]:
    """Generate ten codes of 80 random bits, such as `k3fq-7zab-9x2m-p4wd`. The operator keeps the codes on paper."""
    return [
        "-".join(text[start : start + 4] for start in range(0, len(text), 4))
        for text in (
            base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
            for _ in range(RECOVERY_CODE_COUNT)
        )
    ]


def recovery_digest(secret_key: bytes, operator_id: UUID, code: str) -> bytes:
    """Return the digest of a recovery code for storage.

    Letter case, spaces and dashes in `code` do not change the digest.
    """
    plain = "".join(character for character in code.lower() if character.isalnum())
    key = hmac.digest(secret_key, _RECOVERY_PURPOSE, hashlib.sha256)
    return hmac.digest(key, operator_id.bytes + plain.encode(), hashlib.sha256)
