/**
 * The words about the person's own data, in both languages. They are fetched with the screens that show them, so that
 * the sign-in and the first load stay small.
 */
import { language } from '../words/language.svelte';
import { isolated } from '../words/visibleText';

const id = {
  export: {
    title: 'Unduh data saya',
    intro: 'Profil, pembayaran, obrolan, laporan, dan blokirmu, dalam satu berkas.',
    private: 'Berkas ini berisi obrolan dan nomor HP-mu. Simpan di tempat yang hanya bisa kamu buka.',
    introMitra: 'Profil, laporan, blokir, dan obrolan yang masih bisa kamu baca, dalam satu berkas.',
    phone: 'Nomor HP-mu',
    phoneHint: 'Kami kirim kode ke nomor ini, supaya hanya kamu yang bisa mengunduh.',
    send: 'Kirim kode',
    form: 'Bentuk berkas',
    page: 'Halaman untuk dibaca',
    json: 'JSON',
    download: 'Unduh',
    wrongCode: 'Kodenya salah, sudah lama, atau dikirim ke nomor lain. Periksa lagi, atau minta kode baru.',
    tooMany: 'Kamu sudah mengunduh tiga kali hari ini. Coba lagi besok.',
    brokenOff: 'Unduhan terputus. Minta kode baru, lalu coba lagi.',
    done: 'Datamu sudah diunduh.',
    other: 'Pakai nomor lain',
    close: 'Tutup',
  },
  deleteChat: {
    title: 'Hapus obrolan ini?',
    text: (name: string) =>
      `Isi obrolan langsung hilang untukmu dan untuk ${isolated(name)}, dan tidak bisa dikembalikan. Kami memusnahkannya paling lambat 72 jam lagi.`,
    stays: 'Riwayat, pembayaran, dan tombol "Curhat lagi" tetap ada.',
    held: 'Mau melapor? Lakukan dulu sebelum menghapus. Isi yang dilaporkan kami simpan sampai laporannya selesai.',
    delete: 'Hapus obrolan',
    keep: 'Jangan hapus',
    done: 'Obrolan dihapus.',
  },
};

const en: typeof id = {
  export: {
    title: 'Download my data',
    intro: 'Your profile, payments, chats, reports and blocks, in one file.',
    private: 'The file has your chats and your phone number. Keep it where only you can open it.',
    introMitra: 'Your profile, reports, blocks and the chats that you can still read, in one file.',
    phone: 'Your phone number',
    phoneHint: 'We send a code to this number, so that only you can download.',
    send: 'Send code',
    form: 'Form of the file',
    page: 'Page to read',
    json: 'JSON',
    download: 'Download',
    wrongCode: 'The code is wrong, too old, or was sent to another number. Check it, or ask for a new one.',
    tooMany: 'You have downloaded three times today. Try again tomorrow.',
    brokenOff: 'The download broke off. Ask for a new code, then try again.',
    done: 'Your data is downloaded.',
    other: 'Use another number',
    close: 'Close',
  },
  deleteChat: {
    title: 'Delete this chat?',
    text: (name: string) =>
      `What was written disappears at once for you and for ${isolated(name)}, and cannot be brought back. We destroy it within 72 hours.`,
    stays: 'The history, the payment and the button "Curhat lagi" stay.',
    held: 'Do you want to report? Do it before you delete. We keep what is reported until the report is settled.',
    delete: 'Delete chat',
    keep: 'Keep it',
    done: 'The chat is deleted.',
  },
};

/** Returns the words about the person's own data in the language in use. */
export function privacyWords(): typeof id {
  return language() === 'en' ? en : id;
}
