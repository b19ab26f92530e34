/**
 * Finds contact details in a message: phone numbers, links and handles (T.7). The people of a chat are anonymous, so the
 * app asks before it sends such a message. Everything happens on the device: the server learns nothing about it.
 */
import { findLinks } from './text';

export type Contact = 'phone' | 'link' | 'handle';

/** The numbers and pages of help lines. A mitra sends them in the help card, and they are nobody's own. */
const HELP_NUMBERS = /^(?:0?8111129129|628111129129|0?800\d+)$/;
const HELP_HOSTS = /(?:^|\.)(?:healing119\.id|kemenpppa\.go\.id|kemkes\.go\.id)$/;

const NUMBER_WORDS = [
  'nol|kosong',
  'satu',
  'dua',
  'tiga',
  'empat',
  'lima',
  'enam',
  'tujuh',
  'delapan',
  'sembilan',
];
const WORDS_OF_NUMBERS = new RegExp(`(^|[\\s\\d.,/-])(${NUMBER_WORDS.join('|')})(?=[\\s\\d.,/-]|$)`, 'g');
/** Digits with what people write between them. */
const DIGITS = /(rp\.?\s*)?(\+?\(?\d(?:[\s().\-/]*\d)+)/g;
const BARE_DOMAIN =
  /(?:^|[\s(:])((?:[a-z\d-]+\.)+(?:com|net|org|co\.id|my\.id|web\.id|or\.id|xyz))(?=$|[\s/?,.!)])/;
/** Hosts that lead to a person or hide where they lead. With their short endings, only these count. */
const CONTACT_HOST =
  /(?:^|[\s(:/.])(?:wa\.me|t\.me|telegram\.me|bit\.ly|s\.id|linktr\.ee|lynk\.id|line\.me|m\.me|ig\.me|fb\.me|discord\.gg|youtu\.be|instagr\.am)(?:\/|$|\s)/;
const MAIL = /[\w.+-]{1,64}\s?(?:@|\[at\]|\(at\))\s?[a-z\d-]{1,64}\.[a-z]{2,}/;
/** A name of at least three characters after an @. These words follow an @ that means a place. */
const AT_NAME = /(?:^|[\s(:,;])@(?!(?:rumah|kantor|kampus|sekolah|kos|kosan|jam)\b)[a-z_][\w.]{2,}/;
const SERVICES =
  'ig|insta|instagram|tele|telegram|tiktok|tt|twitter|fb|facebook|line|discord|snapchat|wa|whatsapp';
const OWNERS = 'ku|aku|saya|gue|gw|gua|kak|kakak|nya|mu|id|user|username|namanya';
/** "IG: bunga", "id line = bunga". */
const NAMED_AFTER_COLON = new RegExp(
  `(?:^|[^a-z])(?:${SERVICES})(?:\\s*(?:${OWNERS})){0,2}\\s*[:=]\\s*@?[a-z\\d][\\w.]{2,}`,
);
/** "ig gue bunga_99": without a colon, the name must look like one. */
const NAMED = new RegExp(`(?:^|[^a-z])(?:${SERVICES})(?:\\s*(?:${OWNERS})){0,2}\\s+([a-z][\\w.]*)`, 'g');
const LOOKS_LIKE_A_NAME = /^(?!jam\d)(?:[a-z\d]+[_.][\w.]*[a-z\d]|[a-z]+\d{2,}[a-z\d]*)$/;

/** Returns the kind of the first contact detail in the text, or undefined if there is none. */
export function findContact(text: string): Contact | undefined {
  // NFKC turns other forms of letters and digits, such as full-width ones, into the usual ones.
  const plain = text.normalize('NFKC').toLowerCase();
  if (hasPhoneNumber(plain)) return 'phone';
  if (MAIL.test(plain)) return 'handle';
  if (hasLink(plain)) return 'link';
  return hasHandle(plain) ? 'handle' : undefined;
}

function hasPhoneNumber(text: string): boolean {
  const withDigits = text
    .replace(WORDS_OF_NUMBERS, (_, before: string, word: string) => before + digitOf(word))
    // "o812": the letter instead of the digit.
    .replace(/(^|\s)o(?=\s?8\d)/g, '$10');
  for (const [, isPrice, written = ''] of withDigits.matchAll(DIGITS))
    if (isPrice === undefined && isPhoneNumber(written)) return true;
  return false;
}

function digitOf(word: string): string {
  return String(NUMBER_WORDS.findIndex((words) => words.split('|').includes(word)));
}

/** Returns whether these digits are an Indonesian phone number, or an international one. */
function isPhoneNumber(written: string): boolean {
  const groups = written.match(/\d+/g) ?? [];
  const digits = groups.join('');
  if (HELP_NUMBERS.test(digits)) return false;
  // Single digits at the beginning are one group: somebody spells the number out.
  const spelled = groups.findIndex((group) => group.length > 1);
  const first = spelled > 0 ? groups.slice(0, spelled).join('') : (groups[0] ?? '');
  if (written.startsWith('+')) return digits.length >= 9 && digits.length <= 15;
  // A number begins with a long group ("0812 …", "62 812 …"), or is dictated in short groups with one sign between them.
  // A date or a list of times begins with a short group, and has few groups or different signs.
  const signs = new Set(written.match(/\D+/g) ?? []);
  const isDictated = groups.length >= 5 && groups.every((group) => group.length <= 2) && signs.size === 1;
  if (first.length < 3 && first !== '62' && !isDictated) return false;
  if (/^(?:0|62)8[1-9]/.test(digits)) return digits.length >= 10 && digits.length <= 14;
  // A landline: 021, 0274. Its first group is the area code, or the whole number.
  if (/^0[2-79]\d/.test(digits)) return digits.length >= 9 && digits.length <= 12 && first.length >= 3;
  // A mobile number without its zero. An amount of money has groups of three digits.
  const isAmount = groups.length > 1 && groups.slice(1).every((group) => group.length === 3);
  return /^8[1-9]/.test(digits) && digits.length >= 10 && digits.length <= 12 && !isAmount;
}

function hasLink(text: string): boolean {
  for (const part of findLinks(text))
    if (typeof part !== 'string' && !HELP_HOSTS.test(new URL(part.href).hostname)) return true;
  return CONTACT_HOST.test(text) || BARE_DOMAIN.test(text);
}

function hasHandle(text: string): boolean {
  if (AT_NAME.test(text) || NAMED_AFTER_COLON.test(text)) return true;
  for (const [, name = ''] of text.matchAll(NAMED))
    if (LOOKS_LIKE_A_NAME.test(name.replace(/\.+$/, ''))) return true;
  return false;
}
