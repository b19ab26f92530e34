"""Write the pieces of an export as JSON, or as one page of HTML that needs nothing else and can be printed."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import msgspec

from curhat.kit.identity import Role
from curhat.privacy.export.pieces import ChatBegan, ChatEnded, Piece, SectionBegan, SectionEnded
from curhat.privacy.export.schemas import (
    ExportedBlock,
    ExportedChat,
    ExportedMessage,
    ExportedOpening,
    ExportedPayment,
    ExportedProfile,
    ExportedReport,
    ExportFormat,
    Language,
)
from curhat.privacy.export.words import ENGLISH, INDONESIAN, Words

VERSION: Final = 1

# Indonesia's time zones have these names. Elsewhere, a time shows its difference to UTC.
_ZONE_NAMES: Final = {"Asia/Jakarta": "WIB", "Asia/Makassar": "WITA", "Asia/Jayapura": "WIT"}


class Writer(Protocol):
    """Turns the pieces of one export into bytes, in order."""

    media_type: str

    def begin(self, now: datetime) -> bytes: ...
    def write(self, piece: Piece) -> bytes: ...
    def end(self) -> bytes: ...


def writer_of(export_format: ExportFormat, role: Role, language: Language, zone: ZoneInfo) -> Writer:
    """Return the writer of one export."""
    return JsonWriter() if export_format == "json" else HtmlWriter(role, language, zone)


class JsonWriter:
    """Writes one JSON object, in the form of `schemas.Export`."""

    media_type = "application/json"

    def __init__(self) -> None:
        # Whether the next item of the section, and the next message of the chat, needs a comma before it.
        self._has_item = False
        self._has_message = False

    def begin(self, now: datetime) -> bytes:
        return b'{"version":%d,"exported_at":%s' % (VERSION, msgspec.json.encode(now))

    def write(self, piece: Piece) -> bytes:
        match piece:
            case ExportedProfile():
                return b',\n"profile":' + msgspec.json.encode(piece)
            case SectionBegan():
                self._has_item = False
                return b',\n"' + piece.name.encode() + b'":['
            case SectionEnded():
                return b"]"
            case ChatBegan():
                self._has_message = False
                return self._next_item() + msgspec.json.encode(piece.chat)[:-1] + b',"messages":['
            case ExportedMessage():
                comma, self._has_message = b"," if self._has_message else b"", True
                return comma + b"\n" + msgspec.json.encode(piece)
            case ChatEnded():
                return b"]}"
            case _:
                return self._next_item() + msgspec.json.encode(piece)

    def _next_item(self) -> bytes:
        comma, self._has_item = b"," if self._has_item else b"", True
        return comma + b"\n"

    def end(self) -> bytes:
        return b',\n"complete":true}\n'


# No rule of STYLE needs a file, a font or a script of another place. The page's policy allows only this style.
STYLE: Final = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:0 auto;padding:1.5rem 1rem;overflow-wrap:break-word}
h1{font-size:1.5rem;line-height:1.2}
h2{font-size:1.25rem;margin-top:2.5rem;border-bottom:1px solid;padding-bottom:.25rem}
h3{font-size:1rem;margin:1.75rem 0 .25rem}dl{margin:.25rem 0 1.25rem}
dt{font-size:.875rem;opacity:.75}dd{margin:0 0 .5rem}
ol{list-style:none;margin:.75rem 0;padding:0}li{margin:.75rem 0;padding-left:.75rem;border-left:3px solid #8888}
li.own{border-color:currentColor}li p{margin:0;white-space:pre-wrap}.when{font-size:.875rem;opacity:.75}
@media print{body{max-width:none;padding:0;font-size:11pt}h2,h3{break-after:avoid}li{break-inside:avoid}}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"


class HtmlWriter:
    """Writes one page that a browser opens without a network, and runs nothing of it."""

    media_type = "text/html"

    def __init__(self, role: Role, language: Language, zone: ZoneInfo) -> None:
        self._role = role
        self._language = language
        self._zone = zone
        self._words: Words = INDONESIAN if language == "id" else ENGLISH
        self._is_skipped = False
        self._has_item = False
        self._other_name = ""

    def begin(self, now: datetime) -> bytes:
        words = self._words
        return (
            f'<!doctype html>\n<html lang="{self._language}"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
            f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(words.title)}</title>'
            f"<style>{STYLE}</style></head>\n<body><h1>{escape(words.title)}</h1>\n"
            f"<p>{escape(words.made_at.format(time=self._time(now)))} {escape(words.keep_it_safe)}</p>\n"
        ).encode()

    def write(self, piece: Piece) -> bytes:
        return self._html_of(piece).encode()

    def end(self) -> bytes:
        return f"<hr><p>{escape(self._words.complete)}</p></body></html>\n".encode()

    def _html_of(self, piece: Piece) -> str:
        words = self._words
        match piece:
            case ExportedProfile():
                return f"<h2>{escape(words.profile)}</h2>\n" + self._facts(
                    (words.name, piece.name),
                    (words.phone_number, piece.phone_number),
                    (words.member_since, self._time(piece.member_since)),
                )
            case SectionBegan():
                self._has_item = False
                # A mitra pays nothing.
                self._is_skipped = piece.name == "payments" and self._role == "mitra"
                return "" if self._is_skipped else f"<h2>{escape(words.sections[piece.name])}</h2>\n"
            case SectionEnded():
                return "" if self._has_item or self._is_skipped else f"<p>{escape(words.nothing)}</p>\n"
            case ExportedPayment():
                return self._payment(piece)
            case ChatBegan():
                return self._chat(piece.chat)
            case ExportedMessage():
                return self._message(piece)
            case ChatEnded():
                return "</ol>\n"
            case ExportedReport():
                return self._report(piece)
            case ExportedBlock():
                return self._item(piece.name, [(words.blocked_at, self._time(piece.created_at))])

    def _payment(self, payment: ExportedPayment) -> str:
        words = self._words
        facts = [
            (words.reference, payment.reference),
            (words.bought, words.purposes[payment.purpose].format(minutes=payment.duration_minutes)),
            (words.price, self._rupiah(payment.amount_rp) if payment.amount_rp else words.free),
            (words.what_happened, words.outcomes[payment.what_happened]),
            (words.charged, self._rupiah(payment.charged_rp)),
        ]
        if payment.review is not None:
            decided = payment.review.decision
            facts.append((words.review, words.decisions[decided] if decided else words.review_open))
        facts += [
            (
                words.refund,
                f"{self._rupiah(refund.amount_rp)}, {words.refund_statuses[refund.status]}, {self._time(refund.at)}",
            )
            for refund in payment.refunds
        ]
        return self._item(self._time(payment.created_at), facts)

    def _chat(self, chat: ExportedChat) -> str:
        words = self._words
        self._other_name = chat.with_name
        facts = [
            (words.bought, words.minutes.format(minutes=chat.duration_minutes + chat.extended_minutes)),
            (words.ended_at, words.still_runs if chat.ended_at is None else self._time(chat.ended_at)),
            *((words.opened, self._opening(opening)) for opening in chat.openings),
        ]
        if chat.rating is not None:
            said = [words.answers[chat.rating.answer], *(words.tags[tag] for tag in chat.rating.tags)]
            facts.append((words.rating, ", ".join(said)))
        title = words.chat_with.format(name=chat.with_name, time=self._time(chat.started_at))
        gone = f"<p>{escape(words.text_gone)}</p>\n" if chat.text_gone else ""
        return self._item(title, facts) + gone + "<ol>\n"

    def _opening(self, opening: ExportedOpening) -> str:
        return f"{self._time(opening.at)}: {self._words.openings[opening.why]}"

    def _message(self, message: ExportedMessage) -> str:
        who = self._words.you if message.is_own else self._other_name
        own = ' class="own"' if message.is_own else ""
        return (
            f'<li{own}><div class="when"><bdi>{escape(who)}</bdi>, {self._time(message.sent_at)}</div>'
            f'<p dir="auto">{escape(message.text)}</p></li>\n'
        )

    def _report(self, report: ExportedReport) -> str:
        words = self._words
        facts = [
            (words.reason, words.reasons[report.reason]),
            (words.state, words.report_statuses[report.status]),
        ]
        if report.note:
            facts.append((words.note, report.note))
        return self._item(self._time(report.created_at), facts)

    def _item(self, title: str, facts: Sequence[tuple[str, str]]) -> str:
        self._has_item = True
        return f"<h3><bdi>{escape(title)}</bdi></h3>\n" + self._facts(*facts)

    @staticmethod
    def _facts(*facts: tuple[str, str]) -> str:
        rows = "".join(f'<dt>{escape(name)}</dt><dd dir="auto">{escape(value)}</dd>' for name, value in facts)
        return f"<dl>{rows}</dl>\n"

    def _time(self, at: datetime) -> str:
        local = at.astimezone(self._zone)
        zone = _ZONE_NAMES.get(self._zone.key) or f"UTC{local:%z}"
        return f"{local.day} {self._words.months[local.month - 1]} {local:%Y, %H.%M} {zone}"

    @staticmethod
    def _rupiah(amount: int) -> str:
        return f"Rp{amount:,}".replace(",", ".")
