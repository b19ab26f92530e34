import { isolated } from '../../shared/words/visibleText';
/** The customer's words for the screens that the client fetches on demand. */
export default {
  payment: {
    title: 'Pembayaran',
    choose: 'Mau curhat berapa lama?',
    withMitra: (name: string) => `Curhat lagi dengan ${isolated(name)}`,
    free: 'Gratis',
    trial: 'Coba dulu, satu kali',
    next: 'Lanjut',
    summary: 'Ringkasan',
    session: (minutes: number) => `Sesi curhat ${minutes} menit`,
    total: 'Total',
    expires: 'Selesaikan dalam',
    pay: (price: string) => `Bayar ${price}`,
    payFree: 'Mulai sesi gratisku',
    note: 'Uang baru diambil setelah kamu menekan tombol bayar. Sesudah itu kami langsung mencari bestie.',
    noteFree: 'Tidak ada uang yang diambil. Sesudah ini kami langsung mencari bestie.',
    noteAgain: (name: string) =>
      `Uang baru diambil setelah kamu menekan tombol bayar. Sesudah itu kami tanya ${isolated(name)} dulu. Kalau dia tidak bisa, pembayaranmu tetap berlaku: kamu bisa memilih bestie lain tanpa membayar lagi, atau berhenti, dan tim kami memutuskan apakah uangnya dikembalikan.`,
    noteAgainFree: (name: string) =>
      `Tidak ada uang yang diambil. Sesudah ini kami tanya ${isolated(name)} dulu. Kalau dia tidak bisa, kamu bisa memilih bestie lain dengan sesi gratis yang sama.`,
    change: 'Pilih durasi lain',
    later: 'Kamu boleh keluar dari layar ini. Pembayaran menunggu di beranda sampai waktunya habis.',
    paying: 'Memproses pembayaran…',
    confirmingTitle: 'Menunggu kepastian pembayaran',
    confirming:
      'Pembayaranmu sudah kami kirim dan kami menunggu jawabannya. Jangan bayar lagi; layar ini lanjut dengan sendirinya.',
    declined: 'Pembayaran ditolak. Tidak ada uang yang diambil. Coba lagi, atau pilih durasi lain.',
    presenceUnknown:
      'Kami sedang tidak bisa memastikan ada bestie. Tidak ada uang yang diambil. Coba lagi sebentar lagi.',
    nobody: 'Belum ada bestie tersedia. Tidak ada uang yang diambil.',
    nobodyYet:
      'Belum ada bestie tersedia. Tidak ada uang yang diambil. Kamu bisa lanjut begitu ada yang siap.',
    onlyOthers: (name: string) =>
      `${isolated(name)} sedang tidak bisa menemani. Kalau kamu lanjut, kamu bisa memilih chat dengan bestie lain tanpa membayar lagi.`,
    trialUsed: 'Sesi gratismu sudah terpakai, atau sudah tiga kali dicoba dalam 24 jam. Pilih durasi lain.',
    expiredTitle: 'Waktu pembayaran habis',
    expired:
      'Pembayaran ini sudah ditutup. Tidak ada uang yang diambil. Kalau ternyata terpotong, uangnya otomatis kami kembalikan.',
    again: 'Mulai lagi',
  },
  search: {
    title: 'Mencari bestie…',
    text: 'Kami sedang menghubungi bestie yang siap menemanimu.',
    textNobodyAsked: 'Kami menunggu bestie yang siap. Begitu ada, dia langsung kami hubungi.',
    keepLit: 'Ketuk sesekali supaya layar HP tidak mati.',
    keepOpen: 'Biarkan layar ini terbuka.',
    tell: 'Mau membuka aplikasi lain dulu? Kami bisa memberi tahu begitu bestie siap.',
    tellMe: 'Beri tahu aku',
    told: 'Kamu boleh membuka aplikasi lain: begitu bestie siap, kami beri tahu.',
    left: 'Sisa waktu mencari',
    cancel: 'Berhenti mencari',
    waitingText: (name: string) =>
      `Permintaanmu sudah kami kirim ke ${isolated(name)}. Tunggu jawabannya sebentar, ya.`,
    waitingCancel: 'Batalkan',
    askTitle: 'Berhenti mencari?',
    askMoney: (price: string) =>
      `${price} sudah kamu bayar dan tidak otomatis kembali. Tim kami memeriksanya dulu, lalu memutuskan apakah uangnya dikembalikan.`,
    askFree: 'Kalau kamu berhenti sekarang, sesi gratismu dianggap sudah terpakai.',
    stay: 'Tetap mencari',
    stop: 'Ya, berhenti',
  },
  failure: {
    title: {
      no_mitra_available: 'Belum ada bestie yang bisa menemani',
      all_mitras_rejected: 'Semua bestie sedang tidak bisa',
      targeted_mitra_offline: 'Bestie sedang tidak online',
      targeted_mitra_rejected: 'Bestie pilihanmu belum bisa menemani',
      targeted_mitra_timeout: 'Bestie pilihanmu tidak sempat menjawab',
      payment_session_expired: 'Waktu untuk memilih sudah habis',
      customer_cancelled: 'Pencarian dibatalkan',
    },
    what: {
      no_mitra_available:
        'Kami sudah mencari sampai waktunya habis, tetapi belum ada bestie yang menerima. Maaf, ya.',
      all_mitras_rejected: 'Semua bestie yang kami tanya sedang tidak bisa menerima. Ini bukan karena kamu.',
      targeted_mitra_offline: 'Dia sedang tidak bisa dihubungi, jadi sesinya tidak dimulai.',
      targeted_mitra_rejected:
        'Dia sedang tidak bisa menerima curhat, jadi sesinya tidak dimulai. Ini bukan karena kamu.',
      targeted_mitra_timeout:
        'Permintaanmu tidak terjawab sampai waktunya habis, jadi sesinya tidak dimulai.',
      payment_session_expired: 'Kami menunggu pilihanmu untuk bestie lain sampai waktunya habis.',
      customer_cancelled: 'Kamu berhenti mencari sebelum ada bestie yang menerima.',
    },
    moneyTitle: 'Uangmu',
    see: 'Lihat pembayaran ini',
    nowTitle: 'Sekarang',
    now: 'Kamu bisa mencoba lagi dari beranda, kapan pun ada bestie yang siap.',
    home: 'Ke beranda',
  },
  waiting: { title: 'Menunggu konfirmasi bestie...', left: 'Sisa waktu menjawab' },
  moneyText: {
    free: 'Tidak ada uang yang diambil.',
    freeFailed: 'Tidak ada uang yang diambil, dan pencarian ini tidak memakai sesi gratismu.',
    freeCancelled: 'Tidak ada uang yang diambil. Sesi gratismu sudah terpakai.',
    open: 'Belum ada uang yang diambil.',
    untaken: 'Tidak ada uang yang diambil.',
    paid: (price: string) => `${price} sudah dibayar. Terima kasih.`,
    reviewing: (price: string) =>
      `${price} yang kamu bayar aman tercatat. Tim kami memeriksanya dan memutuskan apakah uangnya dikembalikan. Kamu tidak perlu melapor.`,
    byWhen:
      'Kapan diputuskan? Secepatnya, yang paling lama menunggu kami dahulukan. Begitu ada keputusan, kabarnya muncul di sini dan di beranda, juga lewat notifikasi kalau kamu mengizinkannya.',
    kept: (price: string) =>
      `Tim kami sudah memeriksa pembayaran ini dan memutuskan bahwa ${price} tidak dikembalikan.`,
    refunding: (price: string) =>
      `Uangmu akan kembali: pengembalian dari pembayaran ${price} sedang diproses. Kamu tidak perlu melakukan apa-apa.`,
    refused: (price: string) =>
      `Pengembalian dari pembayaran ${price} belum berhasil. Tim kami yang mengurusnya; kamu tidak perlu melapor.`,
    partly: (part: string, price: string, when: string) =>
      `${part} dari ${price} sudah kami kembalikan pada ${when}.`,
    refunded: (price: string, when: string) => `${price} sudah kami kembalikan pada ${when}.`,
  },
  moneyNote: {
    reviewing: (price: string) => `Pembayaranmu ${price} sedang kami periksa`,
    refunding: (price: string) => `Pembayaranmu ${price} akan dikembalikan`,
    refunded: (price: string) => `Uangmu ${price} sudah kembali`,
    partly: (price: string) => `Sebagian uangmu sudah kembali: ${price}`,
    refused: (price: string) => `Pengembalian dari ${price} belum berhasil`,
    kept: (price: string) => `Ada keputusan tentang pembayaranmu ${price}`,
    noSession: 'Pencarian terakhirmu belum menemukan bestie',
    go: 'Lihat keterangannya',
    more: (count: number) => `Dan ${count} kabar lain tentang pembayaranmu`,
  },
  payments: {
    title: 'Pembayaranmu',
    one: 'Rincian pembayaran',
    receipt: 'Bukti pembayaran',
    empty: 'Belum ada pembayaran',
    emptyText: 'Semua pembayaranmu tersimpan di sini, juga yang tidak jadi.',
    purpose: (purpose: 'session' | 'extension', minutes: number) =>
      purpose === 'session' ? `Sesi curhat ${minutes} menit` : `Tambah waktu ${minutes} menit`,
    happened: {
      served: () => 'Sesi berlangsung',
      searching: (status: string): string =>
        status === 'pending'
          ? 'Belum dibayar'
          : status === 'confirming'
            ? 'Menunggu kepastian pembayaran'
            : 'Bestie sedang dicari',
      no_session: () => 'Tidak menemukan bestie',
      cut_short: () => 'Sesi berhenti sebelum waktunya',
      unanswered: () => 'Bestie tidak menjawab di sesi ini',
      expired: () => 'Waktu pembayaran habis',
      abandoned: () => 'Tidak jadi',
      declined: () => 'Pembayaran ditolak',
    },
    states: {
      free: 'Gratis',
      open: 'Belum dibayar',
      paid: 'Dibayar',
      untaken: 'Tidak ada uang diambil',
      reviewing: 'Sedang diperiksa',
      kept: 'Tidak dikembalikan',
      refunding: 'Akan dikembalikan',
      refused: 'Pengembalian tertunda',
      partly: 'Dikembalikan sebagian',
      refunded: 'Sudah dikembalikan',
    },
    reference: 'Kode pembayaran',
    opened: 'Dibuat',
    charged: 'Dibayar',
    reviewSince: 'Diperiksa sejak',
    decision: 'Keputusan',
    decisions: { refund: 'Uang dikembalikan', no_refund: 'Uang tidak dikembalikan' },
    refund: 'Pengembalian',
    refundStates: { requested: 'sedang diproses', done: 'sudah kembali', failed: 'belum berhasil' },
    tell: 'Kalau menghubungi tim kami, sebutkan kode pembayaran ini.',
    save: 'Simpan atau cetak bukti',
    openChat: 'Buka curhatnya',
  },
  extension: {
    ask: 'Tambah waktu',
    title: 'Tambah berapa lama?',
    more: (minutes: number) => `+${minutes} menit`,
    send: (price: string) => `Minta tambahan, ${price}`,
    note: (name: string) => `Kami tanya ${isolated(name)} dulu. Kalau ditolak, kamu tidak membayar apa-apa.`,
    silence: (approves: boolean, seconds: number, price: string) =>
      approves
        ? `Kalau tidak dijawab dalam ${seconds} detik, itu berarti setuju: waktunya ditambah dan ${price} dibayar.`
        : `Kalau tidak dijawab dalam ${seconds} detik, itu berarti tidak: waktunya tidak ditambah dan kamu tidak membayar.`,
    termsChanged: 'Aturannya baru saja berubah. Baca dulu yang baru, lalu minta lagi.',
    terms: (minutes: number, price: string) => `Tambahan ${minutes} menit, ${price}`,
    silenceApproves: (price: string) =>
      `Kalau tidak dijawab sampai waktunya habis, tambahan ini disetujui dan ${price} dibayar.`,
    silenceRejects: 'Kalau tidak dijawab sampai waktunya habis, tambahan ini batal dan kamu tidak membayar.',
    charging: 'Disetujui. Memproses pembayaran…',
    approvedTitle: 'Waktu ditambah',
    approved: (minutes: number, price: string) =>
      `Sesimu bertambah ${minutes} menit. ${price} sudah dibayar.`,
    rejectedTitle: 'Waktu tidak ditambah',
    rejectedByMitra: 'Bestie belum bisa menambah waktu. Kamu tidak membayar apa-apa.',
    rejectedByTimeout: 'Permintaanmu tidak terjawab. Kamu tidak membayar apa-apa.',
    rejectedOffline: 'Bestie sedang tidak menerima tambahan waktu. Kamu tidak membayar apa-apa.',
    rejectedUnreachable: 'Bestie sedang tidak terhubung. Kamu tidak membayar apa-apa.',
    rejectedEnded: 'Sesinya sudah selesai. Kamu tidak membayar apa-apa.',
    chargeFailed:
      'Bestie setuju, tetapi pembayarannya ditolak. Tidak ada uang yang diambil. Kamu bisa mencoba lagi.',
    go: 'Lanjut curhat',
    pending: 'Permintaan sebelumnya masih diproses.',
  },
  chat: {
    endTitle: 'Akhiri curhat sekarang?',
    endStay: 'Lanjut curhat',
    empty: (name: string) =>
      `Kamu terhubung dengan ${isolated(name)}. Mulai dari mana saja, pelan-pelan juga tidak apa-apa.`,
    reviewTitle: 'Akhiri dan minta diperiksa?',
    reviewText: (name: string) =>
      `${isolated(name)} terputus lebih dari satu menit. Kalau kamu mengakhiri sekarang, tim kami memeriksa semua yang kamu bayar untuk sesi ini, lalu memutuskan apakah uangnya dikembalikan. Kamu tidak perlu melapor.`,
    reviewNow: 'Akhiri dan minta diperiksa',
    reviewWait: 'Tunggu dulu',
    mitraIsBack: 'Bestie sudah kembali. Sesinya lanjut, dan tidak ada yang berubah.',
    soon: 'Waktunya hampir habis. Mau lanjut?',
    over: 'Waktunya habis',
  },
  mitraNotice: {
    away: (name: string) => `${isolated(name)} sedang terputus.`,
    kept: 'Pesanmu tetap tersimpan dan terbaca begitu dia kembali.',
    wait: 'Kalau belum kembali, kamu bisa mengakhiri sesi dan minta pembayaranmu diperiksa dalam',
    end: 'Akhiri dan minta diperiksa',
    back: (name: string) => `${isolated(name)} sudah kembali.`,
  },
  review: {
    unanswered:
      'Bestie tidak membalas satu pesan pun. Maaf, ya. Tim kami memeriksa semua yang kamu bayar untuk sesi ini; kamu tidak perlu melapor.',
    mitra_away:
      'Kamu mengakhiri sesi karena bestie terputus. Tim kami memeriksa semua yang kamu bayar untuk sesi ini; kamu tidak perlu melapor.',
  },
  after: {
    thanks: 'Terima kasih sudah bercerita',
    sorry: 'Maaf, sesinya tidak berjalan baik',
    next: 'Semoga hatimu lebih lega. Kapan pun kamu butuh, bestie siap mendengarkan lagi.',
    deleteChat: 'Hapus obrolan ini',
    textGone: 'Isi obrolan ini sudah dihapus. Riwayatnya tetap ada, dan kamu bisa curhat lagi kapan saja.',
  },
  ended: {
    time_up: 'Waktunya habis. Terima kasih sudah bercerita.',
    customer_ended: 'Kamu mengakhiri sesi ini.',
    mitra_ended:
      'Bestie mengakhiri sesi lebih awal. Tim kami memeriksa pembayaranmu; kamu tidak perlu melapor.',
    mitra_suspended: 'Sesi ini kami hentikan. Tim kami memeriksa pembayaranmu; kamu tidak perlu melapor.',
    again: 'Curhat lagi',
  },
  history: {
    title: 'Riwayat',
    empty: 'Belum ada riwayat',
    emptyText:
      'Semua curhatmu tersimpan di sini. Bestie lain tidak bisa membacanya; tim kami hanya membukanya kalau ada masalah yang harus diperiksa.',
    running: 'Sedang berlangsung',
    open: (name: string, time: string) => `Baca curhat dengan ${isolated(name)}, ${time}`,
    again: 'Curhat lagi',
    againWith: (name: string) => `Curhat lagi dengan ${isolated(name)}`,
    more: 'Muat lebih banyak',
  },
  push: {
    title: 'Notifikasi',
    on: 'Selagi aplikasi tertutup, kami memberi tahu kalau bestie siap atau membalas, dan kalau ada kabar tentang pencarian atau uangmu. Isi chat tidak ditampilkan.',
    off: 'Selagi aplikasi tertutup, kami bisa memberi tahu kalau bestie siap atau membalas, dan kalau ada kabar tentang pencarian atau uangmu.',
    blocked: 'Notifikasi diblokir di HP ini. Buka setelan situs di peramban, lalu izinkan notifikasi.',
    impossible: 'Peramban ini tidak bisa menerima notifikasi.',
    failed: 'Notifikasi belum terpasang. Periksa internetmu, lalu coba lagi.',
  },
  profile: {
    title: 'Profil',
    callName: 'Nama panggilan',
    callNameHint: 'Hanya nama ini yang dilihat bestie.',
    save: 'Simpan',
    saved: 'Nama panggilan disimpan',
    phone: 'Nomor HP',
    signOutTitle: 'Keluar dari Curhat?',
    signOutText: 'Riwayatmu tetap tersimpan. Pesan yang belum terkirim dari HP ini akan hilang.',
  },
};
