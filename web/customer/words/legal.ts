/** The terms and the notice about personal data, in both languages. They are fetched when somebody opens them. */
import type { Language } from '../../shared/words/language.svelte';

export interface LegalTexts {
  draft: string;
  terms: { points: string[] };
  privacy: { points: string[] };
}

export const legalTexts: Record<Language, LegalTexts> = {
  id: {
    draft: 'Ini masih rancangan, belum diperiksa ahli hukum.',
    terms: {
      points: [
        'Lewat Curhat, kamu mengobrol dengan bestie di chat, selama waktu yang kamu pilih.',
        'Kamu membayar di depan, sekali per sesi. Tambahan waktu dibayar saat disetujui; sebelum meminta, kamu membaca apa arti diamnya bestie.',
        'Kalau tidak ada bestie yang menerima, atau bestie pergi atau tidak membalas, tim kami memeriksa pembayaranmu dan memutuskan apakah uangnya dikembalikan.',
        'Curhat bukan layanan darurat, bukan terapi, dan bukan nasihat medis.',
        'Hormati bestie. Pelecehan dan ancaman tidak diterima.',
      ],
    },
    privacy: {
      points: [
        'Kami menyimpan nomor HP-mu untuk masuk, nama panggilanmu, pembayaran, dan isi chat.',
        'Bestie hanya melihat nama panggilanmu, tidak pernah nomor HP-mu.',
        'Isi chat dibaca olehmu dan bestie-mu. Tim kami membukanya hanya dengan alasan tertulis, dan setiap pembukaan tercatat.',
        'Notifikasi tidak pernah memuat isi chat.',
        'Kami tidak menjual datamu.',
      ],
    },
  },
  en: {
    draft: 'This is a draft that no lawyer has reviewed yet.',
    terms: {
      points: [
        'Curhat connects you with a bestie for a chat, for the time that you choose.',
        'You pay in advance, once per session. More time is paid when it is approved; before you ask, you read what silence means.',
        'If no bestie accepts, or the bestie leaves or does not answer, our team reviews your payment and decides whether the money comes back.',
        'Curhat is not an emergency service, not therapy and not medical advice.',
        'Respect your bestie. Harassment and threats are not accepted.',
      ],
    },
    privacy: {
      points: [
        'We store your phone number for signing in, your call name, your payments and your chats.',
        'A bestie sees only your call name, never your phone number.',
        'You and your bestie read the chat. Our team opens it only with a written reason, and each time is recorded.',
        'Notifications never contain the text of a chat.',
        'We do not sell your data.',
      ],
    },
  },
};
