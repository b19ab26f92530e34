"""The words of an export as a page, in Indonesian and in English."""

from collections.abc import Mapping
from typing import Final

import msgspec


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """The words of one language. A word with a name in braces gets a value there."""

    title: str
    made_at: str
    keep_it_safe: str
    complete: str
    nothing: str
    profile: str
    name: str
    phone_number: str
    member_since: str
    sections: Mapping[str, str]
    months: tuple[str, ...]
    reference: str
    bought: str
    purposes: Mapping[str, str]
    minutes: str
    price: str
    free: str
    what_happened: str
    outcomes: Mapping[str, str]
    charged: str
    review: str
    review_open: str
    decisions: Mapping[str, str]
    refund: str
    refund_statuses: Mapping[str, str]
    chat_with: str
    ended_at: str
    still_runs: str
    opened: str
    openings: Mapping[str, str]
    text_gone: str
    you: str
    reason: str
    reasons: Mapping[str, str]
    state: str
    report_statuses: Mapping[str, str]
    note: str
    blocked_at: str
    rating: str
    answers: Mapping[str, str]
    tags: Mapping[str, str]


INDONESIAN: Final = Words(
    title="Data saya di Curhat",
    made_at="Dibuat {time}.",
    keep_it_safe="Halaman ini berisi obrolan dan nomor HP-mu. Simpan di tempat yang hanya bisa kamu buka.",
    complete="Data ini lengkap.",
    nothing="Tidak ada.",
    profile="Profil",
    name="Nama",
    phone_number="Nomor HP",
    member_since="Terdaftar sejak",
    sections={
        "payments": "Pembayaran",
        "chats": "Obrolan",
        "reports": "Laporan yang kamu kirim",
        "blocks": "Yang kamu blokir",
    },
    months=(
        "Januari",
        "Februari",
        "Maret",
        "April",
        "Mei",
        "Juni",
        "Juli",
        "Agustus",
        "September",
        "Oktober",
        "November",
        "Desember",
    ),
    reference="Kode pembayaran",
    bought="Durasi",
    purposes={"session": "Sesi curhat {minutes} menit", "extension": "Tambah waktu {minutes} menit"},
    minutes="{minutes} menit",
    price="Harga",
    free="Gratis",
    what_happened="Yang terjadi",
    outcomes={
        "served": "Sesi berlangsung",
        "searching": "Belum selesai",
        "no_session": "Tidak menemukan bestie",
        "cut_short": "Sesi berhenti sebelum waktunya",
        "unanswered": "Bestie tidak menjawab di sesi ini",
        "expired": "Waktu pembayaran habis",
        "abandoned": "Tidak jadi",
        "declined": "Pembayaran ditolak",
    },
    charged="Dibayar",
    review="Pemeriksaan",
    review_open="Sedang diperiksa",
    decisions={"refund": "Uang dikembalikan", "no_refund": "Uang tidak dikembalikan"},
    refund="Pengembalian",
    refund_statuses={"requested": "diproses", "done": "selesai", "failed": "gagal"},
    chat_with="{name}, {time}",
    ended_at="Selesai",
    still_runs="Masih berlangsung",
    opened="Dibuka tim",
    openings={
        "safety": "untuk menjaga keamanan",
        "payment": "untuk meninjau pembayaran",
        "other": "karena permintaan lain yang dicatat",
    },
    text_gone="Teks obrolan ini sudah tidak tersedia.",
    you="Kamu",
    reason="Alasan",
    reasons={
        "sexual": "Pesan seksual",
        "threat": "Ancaman",
        "insult": "Hinaan",
        "contact": "Meminta kontak",
        "money": "Meminta uang",
        "minor": "Pengguna di bawah 18 tahun",
        "danger": "Bahaya bagi diri sendiri atau orang lain",
        "not_listening": "Tidak didengarkan",
        "other": "Lainnya",
    },
    state="Status",
    report_statuses={
        "received": "Diterima",
        "acted": "Sudah ditindak",
        "no_violation": "Tidak ditemukan pelanggaran",
    },
    note="Catatan",
    blocked_at="Diblokir",
    rating="Penilaianmu",
    answers={"helpful": "Membantu", "neutral": "Biasa", "uncomfortable": "Tidak nyaman"},
    tags={
        "felt_heard": "merasa didengar",
        "kind": "ramah",
        "useful": "bermanfaat",
        "slow": "lambat membalas",
        "distracted": "kurang menyimak",
        "judged": "merasa dihakimi",
        "pushy": "memaksa",
    },
)

ENGLISH: Final = Words(
    title="My data at Curhat",
    made_at="Made on {time}.",
    keep_it_safe="This page has your chats and your phone number. Keep it where only you can open it.",
    complete="This data is complete.",
    nothing="None.",
    profile="Profile",
    name="Name",
    phone_number="Phone number",
    member_since="Member since",
    sections={
        "payments": "Payments",
        "chats": "Chats",
        "reports": "Reports that you sent",
        "blocks": "People whom you blocked",
    },
    months=(
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ),
    reference="Payment code",
    bought="Duration",
    purposes={"session": "Session of {minutes} minutes", "extension": "{minutes} more minutes"},
    minutes="{minutes} minutes",
    price="Price",
    free="Free",
    what_happened="What happened",
    outcomes={
        "served": "The session took place",
        "searching": "Not finished yet",
        "no_session": "No bestie was found",
        "cut_short": "The session ended early",
        "unanswered": "The bestie did not answer",
        "expired": "The time to pay was over",
        "abandoned": "Given up",
        "declined": "The payment was declined",
    },
    charged="Paid",
    review="Review",
    review_open="Under review",
    decisions={"refund": "Money returned", "no_refund": "Not returned"},
    refund="Refund",
    refund_statuses={"requested": "in progress", "done": "done", "failed": "failed"},
    chat_with="{name}, {time}",
    ended_at="Ended",
    still_runs="Still running",
    opened="Opened by the team",
    openings={
        "safety": "to keep people safe",
        "payment": "to review a payment",
        "other": "because of another recorded request",
    },
    text_gone="The text of this chat is no longer available.",
    you="You",
    reason="Reason",
    reasons={
        "sexual": "Sexual messages",
        "threat": "Threats",
        "insult": "Insults",
        "contact": "Asked for contact details",
        "money": "Asked for money",
        "minor": "Somebody under 18",
        "danger": "Danger to self or others",
        "not_listening": "Was not listened to",
        "other": "Something else",
    },
    state="State",
    report_statuses={
        "received": "Received",
        "acted": "Acted upon",
        "no_violation": "No violation found",
    },
    note="Note",
    blocked_at="Blocked on",
    rating="Your rating",
    answers={"helpful": "Helpful", "neutral": "Neutral", "uncomfortable": "Uncomfortable"},
    tags={
        "felt_heard": "felt heard",
        "kind": "kind",
        "useful": "useful",
        "slow": "slow to answer",
        "distracted": "distracted",
        "judged": "felt judged",
        "pushy": "pushy",
    },
)
