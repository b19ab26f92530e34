/**
 * The two languages. The first load contains the Indonesian words of the first screens. The client fetches the words of
 * all screens in `Lazy` together with the first of these screens. The client fetches English words only for a person
 * who chose English. The English words have the type of the Indonesian words, so a missing English word fails the type
 * check.
 */
import { Refused } from '../api/client';
import { reloadAfter } from '../assets';
import { deviceStorage } from '../storage';

export type Language = 'id' | 'en';

/** Which words the screens in `Lazy` need that were loaded until now. */
type Needed = 'shared' | 'screens';

const KEY = 'curhat:language';
/**
 * Each loader loads the words of one dictionary. `of` selects the words of the first screens (`first`), of the screens in
 * `Lazy` that all clients share (`shared`), or of all screens in `Lazy` (`screens`).
 */
const loaders: ((of: 'first' | Needed, language: Language) => Promise<void>)[] = [];
let isStarted = false;
let needed: Needed | undefined;
let current = $state<Language>('id');

/** Returns the language in use. */
export function language(): Language {
  return current;
}

/**
 * Uses this language now and at later visits. Throws `Refused` if the client cannot fetch the words of this language.
 */
export async function setLanguage(wanted: Language): Promise<void> {
  try {
    await use(wanted);
  } catch (error) {
    const problem = await reloadAfter(error);
    if (problem !== undefined) throw new Refused(problem, 0);
  }
}

async function use(wanted: Language): Promise<void> {
  await Promise.all([load('first', wanted), needed ? load(needed, wanted) : undefined]);
  current = wanted;
  document.documentElement.lang = wanted;
  deviceStorage.set(KEY, wanted);
}

/** Uses the language of the last visit. Callers await this function before they show the first screen. */
export async function restoreLanguage(): Promise<void> {
  isStarted = true;
  if (deviceStorage.get(KEY) !== 'en') return;
  try {
    await use('en');
  } catch {
    // Without a network, the client cannot fetch the English words. The bundle contains Indonesian.
  }
}

function load(of: 'first' | Needed, wanted: Language): Promise<unknown> {
  return Promise.all(loaders.map((loadWords) => loadWords(of, wanted)));
}

/**
 * Fetches the words of the screens that are not part of the first load. Callers await this function before they show a
 * screen that is not part of the first load. A screen that needs no words of its own client asks for `shared`.
 */
export async function loadScreenWords(of: Needed = 'screens'): Promise<void> {
  if (needed !== 'screens') needed = of;
  await load(of, current);
}

type Loaders<Words> = Record<Language, () => Promise<{ default: Words }>>;

/**
 * Returns a function that gives one part's words in the language in use, as in `words().home.title`.
 *
 * `screens` loads the words of the screens that are fetched with `Lazy`. Only screens in `Lazy` are allowed to use the
 * words of `screens`. `isShared` marks the dictionary that all clients share. The client's main.ts must import the module that calls `dictionary`. If a module that loads after
 * main.ts calls `dictionary`, the function throws an error. Without the error, the module would first show Indonesian
 * words to a person who chose English.
 */
export function dictionary<First, Screens = unknown>(
  indonesian: First,
  english: () => Promise<{ default: First }>,
  screens?: Loaders<Screens>,
  isShared = false,
): () => First & Screens {
  if (isStarted) throw new Error('import these words in main.ts, before the client starts');
  let fetched = $state.raw<Partial<Record<Language, First & Screens>>>({ id: indonesian as First & Screens });
  const done = new Set<unknown>();
  loaders.push(async (of, wanted) => {
    if (of === 'shared' && !isShared) return;
    const fetch = of !== 'first' ? screens?.[wanted] : wanted === 'en' ? english : undefined;
    if (fetch === undefined || done.has(fetch)) return;
    const words = (await fetch()).default;
    fetched = { ...fetched, [wanted]: { ...fetched[wanted], ...words } as First & Screens };
    done.add(fetch);
  });
  return () => fetched[current] ?? (fetched.id as First & Screens);
}
