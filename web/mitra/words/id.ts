import { isolated } from '../../shared/words/visibleText';
/** The mitra's words. The mitra's words are short, because the mitra reads them during a chat with a customer. */
export default {
  app: 'Curhat Mitra',
  nav: { history: 'Riwayat', profile: 'Profil' },
  unreachable: {
    title: 'Belum tersambung',
    text: 'HP ini belum tersambung. Kami terus mencoba; nanti kamu kembali ke tempat terakhirmu.',
  },
  minutes: (count: number) => (count < 1 ? 'kurang dari 1 menit' : `${count} menit`),
  toggle: {
    capacity: (taken: number, most: number) => `${taken} dari ${most} chat terisi`,
    label: 'Terima curhat',
    on: 'Kamu online',
    off: 'Kamu offline',
    full: 'Kamu online, sudah penuh',
    cutOff: 'Tidak tersambung',
    unknown: 'Menyambung…',
    onText: 'Permintaan curhat masuk ke HP ini.',
    offText: 'Kamu tidak menerima permintaan. Geser tombolnya kalau kamu siap mendengarkan.',
    offChatting:
      'Kamu tidak menerima permintaan. Chat tetap berjalan, tetapi tambahan waktu ditolak otomatis.',
    rest: 'Istirahat',
    fullText: 'Permintaan baru datang begitu salah satu chat selesai.',
    cutOffText: 'Pelanggan tidak bisa menjangkaumu. Kami terus mencoba.',
    unknownText: 'Sebentar, HP ini sedang menyambung.',
  },
  phone: {
    title: 'HP ini',
    allowed: 'Notifikasi diizinkan',
    notAllowed: 'Izinkan notifikasi supaya permintaan tetap sampai',
    without: 'Tanpa notifikasi: biarkan aplikasi ini terbuka',
    soundOff: 'Suara belum menyala',
    turnOn: 'Nyalakan',
    keepLit: 'Layar HP ini bisa mati sendiri. Di setelan HP, pilih waktu layar mati yang paling lama.',
    wasAway:
      'Sambungan sempat putus selagi aplikasi ini di latar belakang. Selama itu permintaan tidak sampai.',
  },
  noRequests: {
    title: 'Belum ada permintaan',
    text: 'Begitu ada yang butuh teman curhat, HP ini berbunyi dan bergetar.',
  },
  sessionEnded: (name: string) => `Sesi dengan ${isolated(name)} selesai`,
  today: {
    title: 'Hari ini',
    sessions: (count: number, minutes: number) => `${count} sesi · ${minutes} menit`,
    none: 'Belum ada sesi hari ini',
    unknown: 'Belum bisa dimuat',
  },
};
