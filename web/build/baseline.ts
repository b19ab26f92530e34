/** The browsers of .browserslistrc, and MDN's data about what they support. */
import data from '@mdn/browser-compat-data' with { type: 'json' };
import type { Identifier, SimpleSupportStatement, SupportStatement } from '@mdn/browser-compat-data';
import browserslist from 'browserslist';
import { WEB } from './clients.ts';

/** MDN's names for the browsers of .browserslistrc, and for browsers with the same engine and version. */
const MDN_NAMES: Record<string, string[]> = {
  chrome: ['chrome', 'chrome_android', 'webview_android'],
  safari: ['safari'],
  ios_saf: ['safari_ios'],
  firefox: ['firefox', 'firefox_android'],
};
/** The names that Vite uses in `build.target`. */
const TARGET_NAMES: Record<string, string> = { ios_saf: 'ios' };

export type Path = readonly string[];
export type Support = Record<string, SupportStatement | undefined>;

/** The oldest version of each browser of .browserslistrc, under the name that browserslist gives it. */
export const OLDEST_VERSIONS: ReadonlyMap<string, number> = readOldestVersions();

/** The oldest browsers, in the format of Vite's `build.target`. */
export const BUILD_TARGET = [...OLDEST_VERSIONS].map(
  ([browser, version]) => `${TARGET_NAMES[browser] ?? browser}${version}`,
);

/**
 * The version of JavaScript's syntax that the build produces. SYNTAX_TARGET leaves out Chrome 87 and Safari 15. Chrome
 * 87 and Safari 15 have rare bugs with `a?.(...b)` and with static fields called `name`. With Chrome 87 and Safari 15
 * as targets, Vite would also convert `?.` and every class, and the first load would be 2.4 KB larger. Chrome 87 and
 * Safari 15 can read the syntax of Firefox 91, except the syntax that `findUnsupported` in bundle.ts refuses.
 */
export const SYNTAX_TARGET = BUILD_TARGET.filter((target) => target.startsWith('firefox'));

function readOldestVersions(): Map<string, number> {
  const oldest = new Map<string, number>();
  for (const supported of browserslist(undefined, { path: WEB })) {
    const [browser = '', versions = ''] = supported.split(' ');
    // The versions of Safari on iOS are ranges, such as "15.0-15.1".
    const version = Number.parseFloat(versions);
    oldest.set(browser, Math.min(version, oldest.get(browser) ?? Infinity));
  }
  return oldest;
}

/** Returns MDN's data for a path such as `['api', 'AbortSignal', 'any_static']`, or undefined if MDN has no data. */
export function supportOf(path: Path): Support | undefined {
  let found: Identifier | undefined = data as unknown as Identifier;
  for (const part of path)
    found = found !== undefined && Object.hasOwn(found, part) ? (found[part] as Identifier) : undefined;
  return found?.__compat?.support;
}

/**
 * Returns the browsers of .browserslistrc, such as `safari 15`, that lack a function. `support` is MDN's data about the
 * function.
 */
export function browsersWithout(support: Support): string[] {
  return [...OLDEST_VERSIONS]
    .filter(([browser, version]) => MDN_NAMES[browser]?.some((one) => !isIn(support[one], version)))
    .map(([browser, version]) => `${browser} ${version}`);
}

function isIn(support: SupportStatement | undefined, version: number): boolean {
  const statements = [support].flat() as (SimpleSupportStatement | undefined)[];
  return statements.some((one) => {
    if (!one?.version_added || one.flags || one.prefix || one.alternative_name) return false;
    const [added, removed] = [one.version_added, one.version_removed || 'never'].map((text) =>
      Number.parseFloat(text.replace('≤', '')),
    );
    return added! <= version && !(removed! <= version);
  });
}

export interface Missing {
  /** The global objects that a browser of .browserslistrc lacks, such as `Notification`. */
  globals: string[];
  /**
   * The members that a browser of .browserslistrc lacks, such as `['AbortSignal', 'any', true]`. True: static.
   */
  members: [owner: string, name: string, isStatic: boolean][];
}

/** Returns the objects and members in MDN's data that a page can use and that a browser of .browserslistrc lacks. */
export function findMissing(): Missing {
  const missing: Missing = { globals: [], members: [] };
  const { api, javascript } = data as unknown as { api: Identifier; javascript: { builtins: Identifier } };
  const { builtins } = javascript;
  const owners = [...entriesOf(api), ...entriesOf(builtins)];
  for (const [owner, entry] of owners) if (lacks(entry)) missing.globals.push(owner);
  owners.push(...entriesOf(builtins.Intl!).map(([name, entry]) => [`Intl.${name}`, entry] as Entry));
  for (const [owner, entry] of owners)
    for (const [key, member] of entriesOf(entry)) {
      if (!lacks(member)) continue;
      // MDN marks the static members of the web platform, but not the static members of the language.
      const isStatic = key.endsWith('_static') || isStaticBuiltin(owner, key);
      missing.members.push([owner, key.replace(/_(static|event)$/, ''), isStatic]);
    }
  return missing;
}

type Entry = [name: string, entry: Identifier];

function entriesOf(tree: Identifier): Entry[] {
  return (Object.entries(tree) as Entry[]).filter(([name]) => name !== '__compat' && /^\w+$/.test(name));
}

function lacks(entry: Identifier): boolean {
  return entry.__compat !== undefined && browsersWithout(entry.__compat.support as Support).length > 0;
}

function isStaticBuiltin(owner: string, name: string): boolean {
  const object = (globalThis as Record<string, unknown>)[owner];
  return object instanceof Object && Object.hasOwn(object, name);
}

// `node build/baseline.ts` prints the objects and members that the browser tests delete before they load the app.
if (process.argv[1]?.endsWith('build/baseline.ts')) console.log(JSON.stringify(findMissing()));
