import lines from '../help/shippedId';

/** The words that all clients share. */
export default {
  loading: 'Memuat…',
  back: 'Kembali',
  home: 'Beranda',
  close: 'Tutup',
  offline: 'Tidak ada koneksi. Menyambung lagi…',
  disconnected: 'Sambungan terputus. Menyambung lagi…',
  retry: 'Coba lagi',
  notLoaded: 'Halaman ini belum termuat',
  reload: 'Muat ulang',
  helpCard: {
    open: 'Butuh bantuan segera?',
    call: (number: string) => `Telepon ${number}`,
    free: 'gratis',
    unverified: 'nomor belum kami cek',
    note: 'Curhat bukan layanan darurat. Kami tidak tahu kalau kamu membuka ini.',
    lines,
  },
  newVersion: 'Ada versi baru Curhat.',
  errors: {
    unreachable: 'Tidak ada koneksi. Periksa internetmu, lalu coba lagi.',
    service_unavailable: 'Server kami belum menjawab. Coba lagi sebentar lagi; tidak akan dobel.',
    timedOut: 'Belum ada jawaban. Coba lagi sebentar lagi.',
    too_many_requests: 'Terlalu sering mencoba. Tunggu sebentar, lalu coba lagi.',
    not_invited: 'Nomor ini belum terdaftar. Hubungi tim Curhat.',
    suspended: 'Akun ini dinonaktifkan. Hubungi tim Curhat.',
    missing: 'Gagal dimuat. Muat ulang aplikasi, lalu coba lagi.',
    other: 'Ada yang salah di pihak kami. Coba lagi sebentar lagi.',
  },
  /** The sentence for `too_many_requests` if the server has named the time to wait. */
  tooManyFor: (seconds: number) =>
    `Terlalu sering mencoba. Tunggu ${seconds < 90 ? `${seconds} detik` : `${Math.ceil(seconds / 60)} menit`}, lalu coba lagi.`,
};
