"""The texts of notifications.

The texts contain no chat text, no reason, no name and no number, because anyone nearby can read a locked phone.
"""

from typing import Final, Literal, get_args

import msgspec

Language = Literal["id", "en"]
PushKind = Literal[
    "request_offered",
    "matched",
    "message",
    "customer_message",
    "extension_requested",
    "search_failed",
    "fallback_offered",
    "decided",
    "refunded",
    "break_over",
    "notice",
    "test",
]
# Why a search failed, or why the chosen mitra did not accept. These are failure tags (X.1).
PushCause = Literal[
    "no_mitra_available",
    "all_mitras_rejected",
    "payment_session_expired",
    "targeted_mitra_offline",
    "targeted_mitra_rejected",
    "targeted_mitra_timeout",
]


class Words(msgspec.Struct, frozen=True):
    """A notification's two lines."""

    title: str
    body: str


_WORDS: Final[dict[PushKind, dict[Language, Words]]] = {
    "request_offered": {
        "id": Words(
            "Ada permintaan curhat", "Sesi berbayar. Buka aplikasi untuk menjawab sebelum waktunya habis."
        ),
        "en": Words("Someone needs to talk", "A paid session. Open the app to answer before the time is up."),
    },
    "matched": {
        "id": Words("Bestie sudah siap", "Waktumu sudah berjalan. Buka aplikasi untuk mulai."),
        "en": Words("Your bestie is here", "Your time has begun. Open the app to start."),
    },
    "message": {
        "id": Words("Pesan baru dari bestie", "Buka aplikasi untuk membacanya."),
        "en": Words("New message from your bestie", "Open the app to read it."),
    },
    "customer_message": {
        "id": Words("Pesan baru dari pelangganmu", "Buka aplikasi untuk membalasnya."),
        "en": Words("New message in your chat", "Open the app to answer it."),
    },
    "extension_requested": {
        "id": Words("Ada permintaan tambah waktu", "Buka aplikasi sekarang untuk menjawab."),
        "en": Words("A request for more time", "Open the app now to answer."),
    },
    "decided": {
        "id": Words(
            "Ada keputusan tentang pembayaranmu",
            "Tim kami sudah selesai memeriksanya. Buka aplikasi untuk melihat hasilnya.",
        ),
        "en": Words(
            "Your payment has been decided",
            "Our team has reviewed it. Open the app to see the result.",
        ),
    },
    "refunded": {
        "id": Words(
            "Uangmu sudah kami kembalikan",
            "Pengembaliannya sudah selesai. Kamu tidak perlu melakukan apa-apa.",
        ),
        "en": Words("We have given your money back", "The refund is done. You need not do anything."),
    },
    "break_over": {
        "id": Words("Waktu istirahatmu selesai", "Kamu masih offline. Buka aplikasi kalau sudah siap lagi."),
        "en": Words("Your break is over", "You are still offline. Open the app when you are ready again."),
    },
    # A notice can be about a warning or about the person's own report. Somebody nearby must not learn this.
    "notice": {
        "id": Words("Ada kabar untukmu", "Buka aplikasi untuk membacanya."),
        "en": Words("There is news for you", "Open the app to read it."),
    },
    "test": {
        "id": Words("Notifikasi berfungsi", "Permintaan baru akan muncul seperti ini."),
        "en": Words("Notifications work", "New requests will appear like this."),
    },
}

# The texts of a request for a free session.
_FREE_REQUEST: Final[dict[Language, Words]] = {
    "id": Words(
        "Ada permintaan curhat", "Sesi uji coba gratis. Buka aplikasi untuk menjawab sebelum waktunya habis."
    ),
    "en": Words("Someone needs to talk", "A free trial. Open the app to answer before the time is up."),
}

# The title of a failure gives the cause in the words of the failure's screen.
_CAUSES: Final[dict[PushCause, dict[Language, str]]] = {
    "no_mitra_available": {
        "id": "Belum ada bestie yang bisa menemani",
        "en": "No bestie could make it",
    },
    "all_mitras_rejected": {
        "id": "Semua bestie sedang tidak bisa",
        "en": "Every bestie is busy right now",
    },
    "payment_session_expired": {
        "id": "Waktu untuk memilih sudah habis",
        "en": "The time to choose is over",
    },
    "targeted_mitra_offline": {
        "id": "Bestie pilihanmu sedang tidak online",
        "en": "Your bestie is not online",
    },
    "targeted_mitra_rejected": {
        "id": "Bestie pilihanmu belum bisa menemani",
        "en": "Your bestie cannot make it right now",
    },
    "targeted_mitra_timeout": {
        "id": "Bestie pilihanmu tidak sempat menjawab",
        "en": "Your bestie did not answer in time",
    },
}
# The body of a failure says what happens to the money. The first text is for a paid search, and the second text for a
# free search.
_MONEY: Final[dict[PushKind, dict[Language, tuple[str, str]]]] = {
    "search_failed": {
        "id": (
            "Pembayaranmu tercatat. Tim kami memeriksanya dan memutuskan apakah uangnya dikembalikan.",
            "Tidak ada uang yang diambil, dan sesi gratismu belum terpakai.",
        ),
        "en": (
            "Your payment is on record. Our team reviews it and decides on the refund.",
            "No money was taken, and your free session is not used up.",
        ),
    },
    "fallback_offered": {
        "id": (
            "Pembayaranmu tetap berlaku. Buka aplikasi untuk memilih sebelum waktunya habis.",
            "Sesi gratismu tetap berlaku. Buka aplikasi untuk memilih sebelum waktunya habis.",
        ),
        "en": (
            "Your payment still counts. Open the app to choose before the time is up.",
            "Your free session still counts. Open the app to choose before the time is up.",
        ),
    },
}


def words_of(kind: PushKind, language: Language, cause: PushCause | None, *, is_free: bool) -> Words:
    """Return a notification's texts. Only the failures `search_failed` and `fallback_offered` have a cause.

    `is_free` says whether the request or the failed payment is a free trial.
    """
    if kind == "request_offered" and is_free:
        return _FREE_REQUEST[language]
    if cause is None:
        return _WORDS[kind][language]
    paid, free = _MONEY[kind][language]
    return Words(_CAUSES[cause][language], free if is_free else paid)


def texts() -> list[dict[Language, Words]]:
    """Return every text that a notification can have."""
    languages = get_args(Language)
    return [
        *_WORDS.values(),
        _FREE_REQUEST,
        *(
            {language: words_of(kind, language, cause, is_free=is_free) for language in languages}
            for kind in _MONEY
            for cause in _CAUSES
            for is_free in (False, True)
        ),
    ]
