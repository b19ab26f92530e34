"""Builds the senders of one-time codes that the settings name."""

from curhat.accounts.code_sender import CodeSender, CodeSenders, CodesInFile, DevelopmentInbox, file_of
from curhat.accounts.twilio import TwilioSms
from curhat.accounts.whatsapp import WhatsApp
from curhat.kit.database import Database
from curhat.kit.settings import Settings


def code_senders(settings: Settings, database: Database) -> CodeSenders:
    """Return the senders of CURHAT_CODE_SENDERS. Raises RuntimeError if a listed name has no sender."""
    return CodeSenders({_label(name): _sender(name, settings, database) for name in settings.code_senders})


def _label(name: str) -> str:
    # A metric must not contain the path of a file.
    return "file" if file_of(name) is not None else name


def _sender(name: str, settings: Settings, database: Database) -> CodeSender:
    path = file_of(name)
    if path is not None and (settings.is_development or settings.allow_file_codes):
        return CodesInFile(path)
    if name == "inbox" and settings.is_development:
        return DevelopmentInbox(database)
    if name == "whatsapp":
        return WhatsApp(
            phone_number_id=settings.whatsapp_phone_number_id,
            access_token=settings.whatsapp_access_token,
            template=settings.whatsapp_template,
            language=settings.whatsapp_template_language,
        )
    if name == "sms":
        return TwilioSms(
            account_sid=settings.twilio_account_sid,
            auth_token=settings.twilio_auth_token,
            sender=settings.twilio_from,
        )
    raise RuntimeError(f"there is no code sender named {name!r}")
