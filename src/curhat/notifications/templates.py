"""The texts of notifications.

The texts contain no chat text, no reason, no name and no number, because anyone nearby can read a locked phone.
"""

from typing import Final, Literal

import msgspec

Language = Literal["id", "en"]
PushKind = Literal["request_offered", "matched", "message", "customer_message", "extension_requested", "test"]


class Words(msgspec.Struct, frozen=True):
    """A notification's two lines."""

    title: str
    body: str


WORDS: Final[dict[PushKind, dict[Language, Words]]] = {
    "request_offered": {
        "id": Words("Ada permintaan curhat", "Buka aplikasi untuk menjawab sebelum waktunya habis."),
        "en": Words("Someone needs to talk", "Open the app to answer before the time is up."),
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
        "id": Words("Pesan baru dari teman curhatmu", "Buka aplikasi untuk membalasnya."),
        "en": Words("New message in your chat", "Open the app to answer it."),
    },
    "extension_requested": {
        "id": Words("Ada permintaan tambah waktu", "Buka aplikasi sekarang untuk menjawab."),
        "en": Words("A request for more time", "Open the app now to answer."),
    },
    "test": {
        "id": Words("Notifikasi berfungsi", "Permintaan baru akan muncul seperti ini."),
        "en": Words("Notifications work", "New requests will appear like this."),
    },
}
