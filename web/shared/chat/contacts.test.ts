import { describe, expect, it } from 'vitest';
import { findContact } from './contacts';

describe('findContact', () => {
  it.each([
    '081234567890',
    'ini nomorku 0812-3456-7890 ya',
    '0812 3456 789',
    '(0812) 3456.7890',
    '+62 812-3456-7890',
    '62812 3456 7890',
    '6281234567890',
    '812-3456-7890',
    '81234567890',
    '0 8 1 2 3 4 5 6 7 8 9 0',
    '08 12 34 56 78 90',
    '08.12.34.56.78.90',
    'nol delapan satu dua tiga empat lima enam tujuh delapan',
    'kosong delapan satu dua 3456 7890',
    'Nol Delapan 1 2 3 4 5 6 7 8',
    'o812 3456 7890',
    '０８１２３４５６７８９０',
    '021-5551234',
    '(021) 555 1234',
    '0274 512345',
    '+1 415 555 2671',
    '+65 9123 4567',
    'telp aku di 0857\u200a1234\u200a5678 abis jam 8',
  ])('finds the phone number in %s', (text) => expect(findContact(text)).toBe('phone'));

  it.each([
    'https://contoh.id/x',
    'wa.me/6281234',
    'buka t.me/bunga',
    'cek bit.ly/abc deh',
    'linktr.ee/bunga',
    'instagram.com/bunga',
    'di toko-ku.co.id ada',
    'www.contoh.id',
  ])('finds the link in %s', (text) => expect(['link', 'phone']).toContain(findContact(text)));

  it.each([
    '@bunga_99',
    'follow @bungacitra ya',
    'IG: bungacitra',
    'ig : @bunga.citra',
    'id line: bunga88',
    'ig gue bunga_99',
    'tele aku kak_bunga',
    'insta ku bunga.citra',
    'tiktok bungacitra2002',
    'bunga@gmail.com',
    'bunga.citra (at) yahoo.com',
  ])('finds the handle in %s', (text) => expect(findContact(text)).toBe('handle'));

  it.each([
    // Prices and amounts.
    'Rp20.000',
    'rp 81.000.000.000',
    'utangku 850.000.000',
    'gaji 8.500.000 sebulan',
    'Rp812345678901',
    'cuma 20rb',
    // Times and dates.
    'jam 08.00-10.00',
    '08.00 10.00 12.30 15.00',
    '08-12-2024 10:30',
    'tanggal 08/12/2024',
    '08.12.2024 sampai 10.12.2024',
    '2024-08-12',
    'dari 2010 sampai 2024',
    'umurku 28, dia 31',
    // Numbers in words.
    'satu dua tiga',
    'aku anak kedua dari tiga bersaudara, adikku empat',
    'delapan tahun aku nunggu',
    // Emergency and help lines.
    'telepon 112 atau 119 ext 8',
    'SAPA 129, WhatsApp 08111-129-129',
    'JakCare 0800-1500-119',
    'https://www.healing119.id',
    // Ordinary sentences.
    'aku nunggu @rumah',
    'dia ngechat wa terus',
    'wa aku jam8 tadi nggak dibales',
    'ig aku hilang. Terus aku nangis',
    'kata2 dia di wa kasar banget, teman2 juga gitu',
    'line antreannya panjang',
    'capek.aku mau tidur',
    'aku lelah...banget',
    'nilaiku 8 7 9 8 85 90',
    'no. 12345',
    'NIK 3174012345678901',
    'halo kak 😀',
    '',
  ])('finds nothing in %s', (text) => expect(findContact(text)).toBeUndefined());

  it('needs little time for the longest message', () => {
    for (const part of ['1 ', '0', 'a.', '@', 'wa aku ', 'nol ', '(', '- '])
      expect(findContact(part.repeat(4000 / part.length)), part).not.toBe('link');
  });
});
