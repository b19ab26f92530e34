/**
 * The words around the texts that a person accepts, in both languages. They are fetched with the screens that show them.
 */
import { language } from '../words/language.svelte';

const id = {
  title: 'Sebelum mulai',
  intro: (count: number) =>
    `Ada ${count} teks pendek. Baca pelan-pelan, dan setujui satu per satu. Tidak ada yang dibayar di sini.`,
  year: 'Tahun lahir',
  yearHint: 'Kami tidak menyimpan tahunnya.',
  yearProblem: 'Tulis tahunnya dengan empat angka.',
  next: 'Lanjut',
  progress: (position: number, count: number) => `Teks ${position} dari ${count}`,
  draft: 'Ini masih rancangan, belum diperiksa ahli hukum.',
  changed: 'Teksnya baru saja berubah. Ini yang terbaru.',
  agree: 'Saya setuju',
  later: 'Nanti saja',
  none: 'Teksnya belum ada. Coba lagi nanti.',
  refusedTitle: 'Curhat untuk orang dewasa',
  refused: 'Maaf, kamu belum bisa memakai Curhat. Tahun lahirmu tidak kami simpan.',
  refusedHelp:
    'Kamu tetap bisa bicara dengan seseorang: orang dewasa yang kamu percaya, guru, atau puskesmas terdekat. Kalau ada bahaya, hubungi 112.',
  refusedLines: 'Lihat nomor bantuan',
  kinds: {
    terms: 'Ketentuan',
    privacy: 'Privasi',
    health_data: 'Izin: hal tentang kesehatan',
    code_of_conduct: 'Kode etik bestie',
  },
  all: 'Ketentuan dan privasi',
};

const en: typeof id = {
  title: 'Before you start',
  intro: (count: number) =>
    `There ${count === 1 ? 'is 1 short text' : `are ${count} short texts`}. Take your time, and agree to each one by itself. Nothing is paid here.`,
  year: 'Year of birth',
  yearHint: 'We do not keep the year.',
  yearProblem: 'Write the year with four digits.',
  next: 'Continue',
  progress: (position: number, count: number) => `Text ${position} of ${count}`,
  draft: 'This is a draft that no lawyer has checked yet.',
  changed: 'The text has just changed. This is the newest one.',
  agree: 'I agree',
  later: 'Not now',
  none: 'The text is not there yet. Try again later.',
  refusedTitle: 'Curhat is for adults',
  refused: 'Sorry, you cannot use Curhat yet. We do not keep your year of birth.',
  refusedHelp:
    'You can still talk to somebody: an adult you trust, a teacher, or the nearest puskesmas. If there is danger, call 112.',
  refusedLines: 'Show help lines',
  kinds: {
    terms: 'Terms',
    privacy: 'Privacy',
    health_data: 'Permission: matters of health',
    code_of_conduct: 'Code of conduct for besties',
  },
  all: 'Terms and privacy',
};

/** Returns the words in the language in use. */
export function consentWords(): typeof id {
  return language() === 'en' ? en : id;
}
