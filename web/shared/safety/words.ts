/**
 * The words of the screens about safety, in both languages. They are fetched with these screens, so that the sign-in and
 * the first load stay small. The texts about danger are drafts that a psychologist has not reviewed yet.
 */
import { language } from '../words/language.svelte';
import { isolated } from '../words/visibleText';
import type { ReportReason } from './report';

const id = {
  report: {
    title: (name: string) => `Laporkan ${isolated(name)}`,
    intro: (name: string) => `Tim kami membaca laporanmu. ${isolated(name)} tidak diberi tahu.`,
    why: 'Apa yang terjadi?',
    reasons: {
      danger: 'Ada bahaya (diri sendiri atau orang lain)',
      threat: 'Ancaman',
      sexual: 'Pesan seksual',
      insult: 'Kata-kata kasar',
      contact: 'Minta kontak',
      money: 'Soal uang',
      minor: 'Pengguna di bawah 18 tahun',
      not_listening: 'Tidak didengarkan',
      other: 'Lainnya',
    } satisfies Record<ReportReason, string>,
    danger:
      'Kalau ada yang dalam bahaya sekarang: hubungi 112, atau bawa ke IGD terdekat. Jangan menunggu kami, laporan tidak selalu langsung terbaca.',
    note: 'Mau menambahkan sesuatu? Boleh kosong',
    left: (count: number) => `Sisa ${count} huruf`,
    mark: 'Tandai pesannya. Boleh dilewati',
    marked: (count: number) => `${count} pesan ditandai`,
    markHint: 'Tim kami membaca pesan yang kamu tandai dan beberapa pesan di sekitarnya.',
    markFull: 'Sudah 20 pesan, itu yang paling banyak.',
    nothingToMark: (name: string) => `Belum ada pesan dari ${isolated(name)}.`,
    earlier: 'Pesan sebelumnya',
    send: 'Kirim laporan',
    cancel: 'Batal',
    received: 'Laporanmu diterima',
    next: {
      soon: 'Laporan seperti ini kami dahulukan.',
      later: 'Tim kami membacanya dalam beberapa hari.',
    },
    thenWhat: (name: string) =>
      `Nanti kami kabari apakah kami mengambil tindakan. ${isolated(name)} tidak pernah diberi tahu siapa yang melapor.`,
    where: 'Kabarnya ada di Profil, di bagian “Laporan dan pemberitahuan”.',
    money: 'Kalau kamu membayar untuk sesi ini, tim kami juga memeriksa pembayarannya.',
    done: 'Selesai',
    already: 'Kamu sudah melaporkan sesi ini, dan laporan itu ada pada kami.',
    gone: 'Isi chat ini sudah dihapus, jadi laporannya tidak bisa diperiksa. Hubungi tim kami kalau ada yang penting.',
    tooMany: 'Hari ini kamu sudah mengirim lima laporan. Untuk bahaya atau usia, kamu tetap bisa melapor.',
    notSent: 'Laporannya belum terkirim. Tulisanmu masih ada di sini; coba lagi.',
  },
  list: {
    title: 'Laporan dan pemberitahuan',
    notices: 'Pemberitahuan untukmu',
    noNotices: 'Tidak ada pemberitahuan.',
    reports: 'Laporanmu',
    noReports: 'Kamu belum pernah melapor.',
    openChat: 'Buka chatnya',
    status: {
      received: 'Diterima, sedang diperiksa',
      acted: 'Kami mengambil tindakan',
      no_violation: 'Kami tidak menemukan pelanggaran',
    },
    statusMore: {
      received: 'Kami kabari kalau sudah diputuskan.',
      acted: 'Terima kasih sudah melapor. Tindakannya tidak kami ceritakan, demi privasi.',
      no_violation:
        'Laporanmu dibaca sungguh-sungguh. Kalau kamu tetap tidak nyaman, kamu tidak harus bertemu dengannya lagi.',
    },
    sent: (time: string) => `Dikirim ${time}`,
    more: 'Muat lebih banyak',
  },
  notice: {
    kinds: {
      warning: 'Peringatan untukmu',
      suspension: 'Akunmu dinonaktifkan',
      suspension_lifted: 'Akunmu aktif lagi',
      report_acted: 'Kami mengambil tindakan atas laporanmu',
      report_no_violation: 'Kami tidak menemukan pelanggaran',
      appeal_upheld: 'Keberatanmu sudah diperiksa: keputusannya tetap',
      appeal_overturned: 'Keberatanmu diterima',
      account_closed: 'Akunmu ditutup',
    } as Record<string, string>,
    rule: 'Aturan yang dilanggar',
    rules: {
      danger: 'Jangan membahayakan diri sendiri atau orang lain, dan jangan mengajak orang melakukannya.',
      threat: 'Jangan mengancam.',
      sexual: 'Jangan mengirim atau meminta pesan seksual.',
      insult: 'Jangan menghina atau berkata kasar.',
      contact: 'Jangan meminta atau memberi kontak pribadi.',
      money: 'Jangan meminta atau menawarkan uang di luar Curhat.',
      minor: 'Curhat hanya untuk orang dewasa, 18 tahun ke atas.',
      not_listening: 'Dengarkan orang yang bercerita kepadamu.',
      other: 'Hormati orang di seberang chat.',
    } satisfies Record<ReportReason, string>,
    warning: {
      customer: 'Setelah kamu menekan “Saya mengerti”, kamu bisa curhat lagi seperti biasa.',
      mitra: 'Setelah kamu menekan “Saya mengerti”, kamu bisa online lagi seperti biasa.',
    },
    again: 'Kalau terulang, akunmu bisa dinonaktifkan.',
    suspended: {
      customer: (until: string | null) =>
        until === null
          ? 'Kamu tidak bisa memulai sesi baru.'
          : `Sampai ${until} kamu tidak bisa memulai sesi baru.`,
      mitra: (until: string | null) =>
        until === null ? 'Kamu tidak bisa menerima sesi.' : `Sampai ${until} kamu tidak bisa menerima sesi.`,
    },
    stillWorks: {
      customer:
        'Yang tetap bisa: membaca riwayat, meminta datamu, menghapus akun, dan membuka kartu bantuan.',
      mitra: 'Yang tetap bisa: mengajukan keberatan, menghubungi tim kami, dan membuka kartu bantuan.',
    },
    lifted: 'Kamu bisa memakai Curhat seperti biasa lagi.',
    overturned: 'Keputusan sebelumnya dibatalkan. Maaf, ya.',
    upheld: 'Petugas lain sudah membaca keberatanmu dan keputusan yang lama tetap berlaku.',
    reportActed: 'Terima kasih sudah melapor. Tindakannya tidak kami ceritakan, demi privasi.',
    reportNoViolation: 'Laporanmu dibaca sungguh-sungguh, tetapi kami tidak menemukan pelanggaran aturan.',
    understood: 'Saya mengerti',
    later: 'Nanti',
    all: 'Lihat semua pemberitahuan',
    appeal: 'Ajukan keberatan',
    appealUntil: (time: string) =>
      `Merasa ini keliru? Kamu bisa mengajukan keberatan sekali, sampai ${time}.`,
    appealText: 'Kenapa keputusan ini keliru?',
    appealHint: 'Petugas lain yang membacanya, bukan yang memutuskan.',
    appealSend: 'Kirim keberatan',
    appealEmpty: 'Tulis alasannya dulu.',
    appealSent: 'Keberatanmu diterima. Petugas lain memeriksanya.',
    appealOver: 'Waktu untuk keberatan sudah lewat.',
    appeals: {
      open: 'Keberatanmu sedang diperiksa.',
      upheld: 'Keberatanmu sudah diperiksa. Keputusannya tetap.',
      overturned: 'Keberatanmu diterima. Keputusannya dibatalkan.',
    },
    news: (count: number) => (count === 1 ? 'Ada pemberitahuan untukmu' : `Ada ${count} pemberitahuan`),
    read: 'Buka',
  },
  helpCard: [
    'Kalau kamu dalam bahaya, atau takut menyakiti diri sendiri:',
    '• Panggil orang di dekatmu, atau ke IGD / puskesmas terdekat',
    '• 112: darurat (belum ada di semua daerah)',
    '• 119 ext 8 atau healing119.id: kesehatan jiwa',
    '• SAPA 129, WhatsApp 08111-129-129: kekerasan pada perempuan dan anak',
  ].join('\n'),
};

const en: typeof id = {
  report: {
    title: (name: string) => `Report ${isolated(name)}`,
    intro: (name: string) => `Our team reads your report. ${isolated(name)} is not told.`,
    why: 'What happened?',
    reasons: {
      danger: 'Somebody is in danger (themselves or others)',
      threat: 'Threats',
      sexual: 'Sexual messages',
      insult: 'Insults',
      contact: 'Asked for contact details',
      money: 'About money',
      minor: 'A user under 18',
      not_listening: 'Was not listened to',
      other: 'Something else',
    },
    danger:
      'If somebody is in danger now: call 112, or go to the nearest emergency room. Do not wait for us, nobody may be reading at this moment.',
    note: 'Anything to add? You can leave it empty',
    left: (count: number) => `${count} characters left`,
    mark: 'Mark the messages. You can skip this',
    marked: (count: number) => (count === 1 ? '1 message marked' : `${count} messages marked`),
    markHint: 'Our team reads the messages that you mark, and a few around them.',
    markFull: 'That is 20 messages, the most there can be.',
    nothingToMark: (name: string) => `No messages from ${isolated(name)} yet.`,
    earlier: 'Earlier messages',
    send: 'Send the report',
    cancel: 'Cancel',
    received: 'We have your report',
    next: {
      soon: 'Reports like this come first.',
      later: 'Our team reads it within a few days.',
    },
    thenWhat: (name: string) =>
      `We then tell you whether we acted. ${isolated(name)} never learns who reported.`,
    where: 'You find the answer in Profile, under “Reports and notices”.',
    money: 'If you paid for this session, our team reviews the payment as well.',
    done: 'Done',
    already: 'You reported this session already, and we have that report.',
    gone: 'The text of this chat is deleted, so nobody can look at a report about it. Contact our team if it matters.',
    tooMany: 'You have sent five reports today. You can still report danger or a minor.',
    notSent: 'The report was not sent yet. What you wrote is still here; try again.',
  },
  list: {
    title: 'Reports and notices',
    notices: 'Notices for you',
    noNotices: 'No notices.',
    reports: 'Your reports',
    noReports: 'You have not reported anything.',
    openChat: 'Open the chat',
    status: {
      received: 'Received, under review',
      acted: 'We acted',
      no_violation: 'We found no violation',
    },
    statusMore: {
      received: 'We tell you when it is decided.',
      acted: 'Thank you for reporting. For privacy, we do not say what we did.',
      no_violation:
        'We read your report with care. If you still feel uneasy, you do not have to meet this person again.',
    },
    sent: (time: string) => `Sent ${time}`,
    more: 'Load more',
  },
  notice: {
    kinds: {
      warning: 'A warning for you',
      suspension: 'Your account is suspended',
      suspension_lifted: 'Your account is active again',
      report_acted: 'We acted on your report',
      report_no_violation: 'We found no violation',
      appeal_upheld: 'Your appeal was reviewed: the decision stays',
      appeal_overturned: 'Your appeal was accepted',
      account_closed: 'Your account is closed',
    },
    rule: 'The rule that was broken',
    rules: {
      danger: 'Do not endanger yourself or others, and do not encourage anybody to do so.',
      threat: 'Do not threaten.',
      sexual: 'Do not send or ask for sexual messages.',
      insult: 'Do not insult.',
      contact: 'Do not ask for or give contact details.',
      money: 'Do not ask for or offer money outside Curhat.',
      minor: 'Curhat is only for adults of 18 years and more.',
      not_listening: 'Listen to the person who talks to you.',
      other: 'Respect the person on the other side of the chat.',
    },
    warning: {
      customer: 'After you press “I understand”, you can start a session as before.',
      mitra: 'After you press “I understand”, you can go online as before.',
    },
    again: 'If it happens again, your account may be suspended.',
    suspended: {
      customer: (until: string | null) =>
        until === null ? 'You cannot start a new session.' : `You cannot start a new session until ${until}.`,
      mitra: (until: string | null) =>
        until === null ? 'You cannot take sessions.' : `You cannot take sessions until ${until}.`,
    },
    stillWorks: {
      customer:
        'What still works: reading your history, asking for your data, deleting your account, and the help card.',
      mitra: 'What still works: an appeal, contacting our team, and the help card.',
    },
    lifted: 'You can use Curhat as before.',
    overturned: 'The earlier decision is taken back. We are sorry.',
    upheld: 'Another member of our team read your appeal, and the earlier decision stays.',
    reportActed: 'Thank you for reporting. For privacy, we do not say what we did.',
    reportNoViolation: 'We read your report with care, but found no violation of the rules.',
    understood: 'I understand',
    later: 'Later',
    all: 'See all notices',
    appeal: 'Appeal',
    appealUntil: (time: string) => `Is this a mistake? You can appeal once, until ${time}.`,
    appealText: 'Why is this decision wrong?',
    appealHint: 'Another member of our team reads it, not the one who decided.',
    appealSend: 'Send the appeal',
    appealEmpty: 'Write why first.',
    appealSent: 'We have your appeal. Another member of our team reviews it.',
    appealOver: 'The time to appeal is over.',
    appeals: {
      open: 'Your appeal is under review.',
      upheld: 'Your appeal was reviewed. The decision stays.',
      overturned: 'Your appeal was accepted. The decision is taken back.',
    },
    news: (count: number) =>
      count === 1 ? 'There is a notice for you' : `There are ${count} notices for you`,
    read: 'Open',
  },
  helpCard: [
    'If you are in danger, or afraid of hurting yourself:',
    '• Call somebody near you, or go to the nearest emergency room or puskesmas',
    '• 112: emergencies (not in every region yet)',
    '• 119 ext 8 or healing119.id: mental health',
    '• SAPA 129, WhatsApp 08111-129-129: violence against women and children',
  ].join('\n'),
};

/** Returns the words about safety in the language in use. */
export function safetyWords(): typeof id {
  return language() === 'en' ? en : id;
}
