/**
 * The two languages. The bundle contains Indonesian. The client fetches English only for a person who chose it. The
 * English words have the type of the Indonesian words, so a missing English word fails the type check.
 */

export type Language = 'id' | 'en';

const KEY = 'curhat:language';
const loaders: (() => Promise<void>)[] = [];
let isStarted = false;
let current = $state<Language>('id');

/** Returns the language in use. */
export function language(): Language {
  return current;
}

/** Uses this language from now on, and at the next visit. Throws if its words cannot be fetched. */
export async function setLanguage(wanted: Language): Promise<void> {
  if (wanted === 'en') await Promise.all(loaders.map((load) => load()));
  current = wanted;
  document.documentElement.lang = wanted;
  localStorage.setItem(KEY, wanted);
}

/** Uses the language of the last visit. Await it before the first screen is shown. */
export async function restoreLanguage(): Promise<void> {
  isStarted = true;
  if (localStorage.getItem(KEY) !== 'en') return;
  try {
    await setLanguage('en');
  } catch {
    // Without a network, the words cannot be fetched. Indonesian is in the bundle.
  }
}

/**
 * Returns a function that gives one part's words in the language in use: `words().home.title`.
 *
 * main.ts must import the module that calls this function. A module that is loaded later would show Indonesian until
 * its English words are fetched, so this function throws there.
 */
export function dictionary<Words>(
  indonesian: Words,
  english: () => Promise<{ default: Words }>,
): () => Words {
  if (isStarted) throw new Error('import these words in main.ts, before the client starts');
  let inEnglish: Words | undefined;
  loaders.push(async () => {
    inEnglish = (await english()).default;
  });
  return () => (current === 'en' && inEnglish !== undefined ? inEnglish : indonesian);
}
