/**
 * The two languages. Indonesian is in the bundle and is the shape that English must have, so that a missing word
 * fails the type check; English is fetched by those who read it.
 */

export type Language = 'id' | 'en';

const KEY = 'curhat:language';
const loaders: (() => Promise<void>)[] = [];
let isOpen = false;
let current = $state<Language>('id');

/** The language in use. */
export function language(): Language {
  return current;
}

/** Use this language from now on, here and at the next opening. Rejects when its words cannot be fetched. */
export async function useLanguage(wanted: Language): Promise<void> {
  if (wanted === 'en') await Promise.all(loaders.map((load) => load()));
  current = wanted;
  document.documentElement.lang = wanted;
  localStorage.setItem(KEY, wanted);
}

/** The language of the last opening. Await it before anything is shown. */
export async function rememberedLanguage(): Promise<void> {
  isOpen = true;
  if (localStorage.getItem(KEY) !== 'en') return;
  try {
    await useLanguage('en');
  } catch {
    // Without a network on the first opening: Indonesian is always there.
  }
}

/**
 * The words of one part of a client, as a function: `words().home.title` follows the language. Its module has to be
 * imported by main.ts: what comes later, with a screen, would be in Indonesian until its English is there.
 */
export function dictionary<Words>(
  indonesian: Words,
  english: () => Promise<{ default: Words }>,
): () => Words {
  if (isOpen) throw new Error('import these words in main.ts, before the client starts');
  let inEnglish: Words | undefined;
  loaders.push(async () => {
    inEnglish = (await english()).default;
  });
  return () => (current === 'en' && inEnglish !== undefined ? inEnglish : indonesian);
}
