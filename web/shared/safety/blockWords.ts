/** The words about blocks, in both languages. They are fetched with the screens that use them. */
import { language } from '../words/language.svelte';
import { isolated } from '../words/visibleText';

const id = {
  block: 'Blokir',
  title: (name: string) => `Blokir ${isolated(name)}?`,
  text: (name: string) => `Kalian tidak akan dipertemukan lagi. ${isolated(name)} tidak diberi tahu.`,
  undoText: 'Hanya kamu yang bisa membatalkannya, kapan saja di Profil.',
  cancel: 'Tidak jadi',
  doneTitle: 'Sudah diblokir',
  done: 'Selesai',
  undo: 'Batalkan blokir',
  undone: 'Blokir dibatalkan',
  running:
    'Kamu sedang dalam sesi dengan orang ini. Buka sesi itu, lalu akhiri dengan “Jangan pertemukan kami lagi”.',
  full: 'Kamu sudah memblokir 200 orang, itu yang paling banyak. Batalkan satu blokir di Profil, lalu coba lagi.',
  list: 'Yang kamu blokir',
  nobody: 'Belum ada.',
  since: (when: string) => `Sejak ${when}`,
  again: {
    title: (name: string) => `Kamu memblokir ${isolated(name)}`,
    text: 'Selama diblokir, kalian tidak dipertemukan. Kalau mau curhat lagi dengannya, batalkan dulu blokirnya.',
    close: 'Tutup',
  },
};

const en: typeof id = {
  block: 'Block',
  title: (name) => `Block ${isolated(name)}?`,
  text: (name) => `You two are never matched again. ${isolated(name)} is not told.`,
  undoText: 'Only you can undo this, at any time in your profile.',
  cancel: 'Do not block',
  doneTitle: 'Blocked',
  done: 'Done',
  undo: 'Undo the block',
  undone: 'The block is undone',
  running:
    'You are in a session with this person. Open that session, and end it with “Never match us again”.',
  full: 'You have blocked 200 people, which is the most. Undo one block in your profile, then try again.',
  list: 'People you have blocked',
  nobody: 'Nobody.',
  since: (when) => `Since ${when}`,
  again: {
    title: (name) => `You have blocked ${isolated(name)}`,
    text: 'While the block lasts, you two are not matched. To talk to this bestie again, undo the block first.',
    close: 'Close',
  },
};

/** Returns the words about blocks in the language in use. */
export function blockWords(): typeof id {
  return language() === 'en' ? en : id;
}
