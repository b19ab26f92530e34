/**
 * The two languages. The first load contains the Indonesian words of the first screens. The client fetches the words of
 * the other screens with the first of these screens (`Lazy`), and English only for a person who chose it. The English
 * words have the type of the Indonesian words, so a missing English word fails the type check.
 */
import { Refused } from '../api/client';
import { reloadAfter } from '../assets';
import { deviceStorage } from '../storage';

export type Language = 'id' | 'en';

const KEY = 'curhat:language';
/** Each loads the words of one dictionary. `of`: the words of the first screens, or of the screens. */
const loaders: ((of: 'first' | 'screens', language: Language) => Promise<void>)[] = [];
let isStarted = false;
let needsScreens = false;
let current = $state<Language>('id');

/** Returns the language in use. */
export function language(): Language {
  return current;
}

/** Uses this language from now on, and at the next visit. Throws `Refused` if its words cannot be fetched. */
export async function setLanguage(wanted: Language): Promise<void> {
  try {
    await use(wanted);
  } catch (error) {
    const problem = await reloadAfter(error);
    if (problem !== undefined) throw new Refused(problem, 0);
  }
}

async function use(wanted: Language): Promise<void> {
  await Promise.all([load('first', wanted), needsScreens ? load('screens', wanted) : undefined]);
  current = wanted;
  document.documentElement.lang = wanted;
  deviceStorage.set(KEY, wanted);
}

/** Uses the language of the last visit. Await it before the first screen is shown. */
export async function restoreLanguage(): Promise<void> {
  isStarted = true;
  if (deviceStorage.get(KEY) !== 'en') return;
  try {
    await use('en');
  } catch {
    // Without a network, the words cannot be fetched. Indonesian is in the bundle.
  }
}

function load(of: 'first' | 'screens', wanted: Language): Promise<unknown> {
  return Promise.all(loaders.map((loadWords) => loadWords(of, wanted)));
}

/** Fetches the words of the screens that are not part of the first load. Await it before such a screen is shown. */
export async function loadScreenWords(): Promise<void> {
  needsScreens = true;
  await load('screens', current);
}

type Loaders<Words> = Record<Language, () => Promise<{ default: Words }>>;

/**
 * Returns a function that gives one part's words in the language in use: `words().home.title`.
 *
 * `screens` loads the words of the screens that are fetched with `Lazy`. Only these screens may use these words. main.ts
 * must import the module that calls this function. A module that is loaded later would show Indonesian until its
 * English words are fetched, so this function throws there.
 */
export function dictionary<First, Screens = unknown>(
  indonesian: First,
  english: () => Promise<{ default: First }>,
  screens?: Loaders<Screens>,
): () => First & Screens {
  if (isStarted) throw new Error('import these words in main.ts, before the client starts');
  let fetched = $state.raw<Partial<Record<Language, First & Screens>>>({ id: indonesian as First & Screens });
  const done = new Set<string>();
  loaders.push(async (of, wanted) => {
    const fetch = of === 'screens' ? screens?.[wanted] : wanted === 'en' ? english : undefined;
    if (fetch === undefined || done.has(of + wanted)) return;
    const words = (await fetch()).default;
    fetched = { ...fetched, [wanted]: { ...fetched[wanted], ...words } as First & Screens };
    done.add(of + wanted);
  });
  return () => fetched[current] ?? (fetched.id as First & Screens);
}
