/**
 * The words of the sign-in, in both languages. They are fetched with the sign-in, which therefore needs no words of the
 * other screens.
 */
import { language } from '../../shared/words/language.svelte';

const id = {
  title: 'Ada yang mau dicurhatin?',
  text: 'Ngobrol dengan bestie sungguhan yang siap mendengarkan, dalam hitungan detik.',
  demoName: 'Nomor contoh',
  from: (price: string) => `Mulai ${price}`,
  trial: (minutes: number) => `coba gratis ${minutes} menit`,
  about: 'Tentang Curhat',
  besties: 'Bestie: orang sungguhan yang kami undang untuk mendengarkan, bukan psikolog.',
  readers: 'Chat dibaca kamu dan bestie-mu. Tim kami membukanya hanya kalau ada masalah, dan itu tercatat.',
  emergency: 'Bukan layanan darurat. Kalau ada yang dalam bahaya, hubungi 112.',
  legal: { terms: 'Ketentuan', privacy: 'Privasi' },
};

const en: typeof id = {
  title: 'Something on your mind?',
  text: 'Talk to a real person who is ready to listen, within seconds.',
  demoName: 'Sample number',
  from: (price: string) => `From ${price}`,
  trial: (minutes: number) => `${minutes} minutes free to try`,
  about: 'About Curhat',
  besties: 'Besties: real people whom we invited to listen, not psychologists.',
  readers:
    'You and your bestie read a chat. Our team opens it only if there is a problem, and that is recorded.',
  emergency: 'Not an emergency service. If somebody is in danger, call 112.',
  legal: { terms: 'Terms', privacy: 'Privacy' },
};

export function signInWords(): typeof id {
  return language() === 'en' ? en : id;
}
