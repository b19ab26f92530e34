/** The words about deleting the account, in both languages. They are fetched with the screens that show them. */
import { language } from '../words/language.svelte';

const id = {
  title: 'Hapus akun',
  question: 'Hapus akunmu?',
  goes: 'Yang hilang',
  goesCustomer:
    'Nama, nomor telepon, obrolan, penilaian, dan daftar blokirmu. Kamu langsung keluar dari semua HP, dan bestie tidak bisa membaca obrolan lagi.',
  goesMitra:
    'Nama, nomor telepon, obrolan, catatan, jawaban cepat, dan daftar blokirmu. Kamu langsung keluar dari semua HP, dan tidak ditawari permintaan lagi.',
  when: 'Isi obrolan dimusnahkan paling lambat 72 jam lagi. Kalau ada laporan tentang sebuah obrolan, tim kami menyimpannya sampai 90 hari setelah laporan itu selesai.',
  stays: 'Yang tetap ada',
  staysCustomer:
    'Catatan pembayaran dan waktu sesi, karena aturan pembukuan, tapi tanpa nama dan nomormu. Selama 12 bulan, nomor yang sama tidak dapat uji coba gratis lagi, dan blokir atau penangguhan tetap berlaku.',
  staysMitra:
    'Catatan waktu sesi, karena aturan pembukuan, tapi tanpa nama dan nomormu. Selama 12 bulan, blokir atau penangguhan tetap berlaku untuk nomor yang sama.',
  final: 'Akun yang sudah dihapus tidak bisa dikembalikan.',
  go: 'Lanjut, kirim kode',
  keep: 'Jangan hapus',
  phone: 'Nomor teleponmu',
  phoneHint: 'Kami kirim kode ke nomor ini, supaya hanya kamu yang bisa menghapus.',
  send: 'Kirim kode',
  delete: 'Hapus akun saya',
  wrongCode: 'Kodenya salah, sudah lama, atau dikirim ke nomor lain. Periksa lagi, atau minta kode baru.',
  paymentOpen:
    'Masih ada pembayaran atau pencarian yang terbuka. Batalkan atau selesaikan dulu, lalu hapus akunmu.',
  sessionOpen: 'Masih ada sesi yang berjalan. Akhiri dulu, lalu hapus akunmu.',
  done: 'Akunmu sudah dihapus.',
};

const en: typeof id = {
  title: 'Delete account',
  question: 'Delete your account?',
  goes: 'What goes',
  goesCustomer:
    'Your name, phone number, chats, ratings and blocks. You are signed out on every phone at once, and your bestie can no longer read the chats.',
  goesMitra:
    'Your name, phone number, chats, notes, quick answers and blocks. You are signed out on every phone at once, and get no more requests.',
  when: 'What was written in chats is destroyed within 72 hours. If there is a report about a chat, our team keeps it until 90 days after the report is settled.',
  stays: 'What stays',
  staysCustomer:
    'The records of payments and times of sessions, for accounting, but without your name and number. For 12 months the same number gets no second free trial, and blocks or a suspension still apply.',
  staysMitra:
    'The times of sessions, for accounting, but without your name and number. For 12 months, blocks or a suspension still apply to the same number.',
  final: 'A deleted account cannot be brought back.',
  go: 'Go on, send a code',
  keep: 'Keep my account',
  phone: 'Your phone number',
  phoneHint: 'We send a code to this number, so that only you can delete the account.',
  send: 'Send code',
  delete: 'Delete my account',
  wrongCode: 'The code is wrong, too old, or was sent to another number. Check it, or ask for a new one.',
  paymentOpen: 'A payment or a search is still open. Cancel or finish it first, then delete your account.',
  sessionOpen: 'A session is still running. End it first, then delete your account.',
  done: 'Your account is deleted.',
};

/** Returns the words about deleting the account in the language in use. */
export function deletionWords(): typeof id {
  return language() === 'en' ? en : id;
}
