/** The words about leaving a chat and about its rating, in both languages. They are fetched with these screens. */
import { language } from '../words/language.svelte';
import { isolated } from '../words/visibleText';

const id = {
  text: {
    customer: (name: string) =>
      `Sesi langsung berakhir. ${isolated(name)} hanya diberi tahu bahwa kamu mengakhirinya. Sisa waktunya tidak dikembalikan.`,
    mitra: (name: string) =>
      `Sesi langsung berakhir. ${isolated(name)} hanya diberi tahu bahwa kamu mengakhirinya. Tim kami memeriksa setiap sesi yang kamu akhiri lebih awal.`,
  },
  optional: 'Kalau perlu, boleh dilewati',
  why: 'Kenapa diakhiri?',
  reasons: {
    felt_unsafe: 'Aku merasa tidak aman',
    customer_inappropriate: 'Kata-katanya kasar atau tidak pantas',
    emergency: 'Ada keadaan mendesak di pihakku',
    technical: 'Jaringan atau HP-ku bermasalah',
    other: 'Alasan lain',
  },
  block: 'Jangan pertemukan kami lagi',
  blockText: (name: string) =>
    `${isolated(name)} tidak diberi tahu. Kamu bisa membatalkannya kapan saja di Profil.`,
  report: (name: string) => `Laporkan ${isolated(name)}`,
  reportText: 'Hanya tim kami yang membacanya.',
  noReport: 'Tidak jadi melapor',
  now: { customer: 'Ya, akhiri', mitra: 'Akhiri sesi' },
  withReason: 'Akhiri dengan alasan ini',
  alsoReport: 'Akhiri dan laporkan',
  alsoBlock: 'Akhiri, jangan bertemu lagi',
  alsoBoth: 'Akhiri, laporkan, jangan bertemu lagi',
  notStored: {
    report: 'Sesimu sudah berakhir, tetapi laporannya belum tersimpan. Kirim lagi dari chat ini.',
    block: 'Sesimu sudah berakhir, tetapi blokirnya belum tersimpan. Coba lagi dari chat ini.',
  },
  stored: {
    report: 'Sesimu sudah berakhir, dan laporanmu kami terima.',
    block: 'Sesimu sudah berakhir. Kalian tidak akan dipertemukan lagi.',
    both: 'Sesimu sudah berakhir, dan laporanmu kami terima. Kalian tidak akan dipertemukan lagi.',
  },
  rating: {
    question: 'Bagaimana rasanya sesi ini?',
    privacy: (name: string) => `${isolated(name)} tidak melihat jawabanmu.`,
    answers: { helpful: 'Membantu', neutral: 'Biasa', uncomfortable: 'Tidak nyaman' },
    thanks: 'Terima kasih, sudah kami catat.',
    sorry: 'Terima kasih sudah bilang. Maaf rasanya tidak nyaman.',
    report: 'Laporkan',
    blocked: 'Kalian tidak akan dipertemukan lagi.',
    change: 'Ubah jawaban',
  },
};

const en: typeof id = {
  text: {
    customer: (name) =>
      `The session ends at once. ${isolated(name)} is only told that you ended it. The time that is left is not refunded.`,
    mitra: (name) =>
      `The session ends at once. ${isolated(name)} is only told that you ended it. Our team looks at every session that you end early.`,
  },
  optional: 'Only if you want to',
  why: 'Why do you end it?',
  reasons: {
    felt_unsafe: 'I feel unsafe',
    customer_inappropriate: 'Rude or improper language',
    emergency: 'Something urgent came up for me',
    technical: 'My network or phone has trouble',
    other: 'Another reason',
  },
  block: 'Never match us again',
  blockText: (name) => `${isolated(name)} is not told. You can undo this at any time in your profile.`,
  report: (name) => `Report ${isolated(name)}`,
  reportText: 'Only our team reads it.',
  noReport: 'Do not report',
  now: { customer: 'Yes, end it', mitra: 'End the session' },
  withReason: 'End with this reason',
  alsoReport: 'End and report',
  alsoBlock: 'End, never match us again',
  alsoBoth: 'End, report, never match us again',
  notStored: {
    report: 'Your session is over, but the report is not stored yet. Send it again from this chat.',
    block: 'Your session is over, but the block is not stored yet. Try again from this chat.',
  },
  stored: {
    report: 'Your session is over, and we have your report.',
    block: 'Your session is over. You two are never matched again.',
    both: 'Your session is over, and we have your report. You two are never matched again.',
  },
  rating: {
    question: 'How was this session for you?',
    privacy: (name) => `${isolated(name)} does not see your answer.`,
    answers: { helpful: 'It helped', neutral: 'It was okay', uncomfortable: 'It felt wrong' },
    thanks: 'Thank you, we noted it.',
    sorry: 'Thank you for telling us. We are sorry that it felt wrong.',
    report: 'Report',
    blocked: 'You two are never matched again.',
    change: 'Change the answer',
  },
};

/** Returns the words about leaving in the language in use. */
export function leaveWords(): typeof id {
  return language() === 'en' ? en : id;
}
