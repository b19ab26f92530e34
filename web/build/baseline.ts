/** The oldest browsers that the clients support, as .browserslistrc names them. */
import browserslist from 'browserslist';
import { WEB } from './clients.ts';

/** The oldest version of each browser, under the name that browserslist gives it. */
export const OLDEST_VERSIONS: ReadonlyMap<string, number> = readOldestVersions();

function readOldestVersions(): Map<string, number> {
  const oldest = new Map<string, number>();
  for (const supported of browserslist(undefined, { path: WEB })) {
    const [browser = '', versions = ''] = supported.split(' ');
    // Safari on iOS has ranges: "15.0-15.1".
    const version = Number.parseFloat(versions);
    oldest.set(browser, Math.min(version, oldest.get(browser) ?? Infinity));
  }
  return oldest;
}

/** The same as the bundler names it, such as `chrome87`. */
export function buildTargets(): string[] {
  const names: Record<string, string> = { ios_saf: 'ios' };
  return [...OLDEST_VERSIONS].map(([browser, version]) => `${names[browser] ?? browser}${version}`);
}
