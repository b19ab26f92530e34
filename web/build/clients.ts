/**
 * The web clients. Each client has a folder of sources, and a path under which the server serves the client's build.
 */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';

export const WEB = `${dirname(import.meta.dirname)}/`;

export interface Client {
  /** The folder of the sources in web/. */
  folder: string;
  /** The name of the build's folder in web/dist/. The server serves the build under this name: `app` under /app/. */
  path: string;
  /** The name below the icon on a phone. Phones show at most 12 characters. */
  shortName: string;
  name: string;
  description: string;
}

const ALL: Client[] = [
  {
    folder: 'customer',
    path: 'app',
    shortName: 'Curhat',
    name: 'Curhat',
    description: 'Teman curhat, dalam hitungan detik.',
  },
  {
    folder: 'mitra',
    path: 'mitra',
    shortName: 'Curhat Mitra',
    name: 'Curhat Mitra',
    description: 'Untuk bestie yang mendengarkan.',
  },
  {
    folder: 'control-center',
    path: 'control-center',
    shortName: 'Curhat CC',
    name: 'Curhat Control Center',
    description: 'For the operators of Curhat.',
  },
];

/** The clients whose sources exist. */
export const CLIENTS = ALL.filter((client) => existsSync(`${WEB}${client.folder}/index.html`));

/** Returns the client whose sources are in this folder of web/. Throws if no client has this folder. */
export function clientIn(folder: string): Client {
  const found = CLIENTS.find((client) => client.folder === folder);
  if (!found)
    throw new Error(
      `no client in web/${folder}; there is ${CLIENTS.map((client) => client.folder).join(', ')}`,
    );
  return found;
}
