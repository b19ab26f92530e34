/** The web clients: where each one's sources are, and below which path the server serves it. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const WEB = fileURLToPath(new URL('..', import.meta.url));

export interface Client {
  /** The folder of its sources in web/. */
  folder: string;
  /** The folder of its build in web/dist/, and its path: /app/ for `app`. */
  path: string;
  /** Under its icon on a phone: at most 12 characters stay readable. */
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

/** Those that there are sources of. */
export const CLIENTS = ALL.filter((client) => existsSync(`${WEB}${client.folder}/index.html`));

/** A client by the folder of its sources. */
export function clientIn(folder: string): Client {
  const found = CLIENTS.find((client) => client.folder === folder);
  if (!found)
    throw new Error(
      `no client in web/${folder}; there is ${CLIENTS.map((client) => client.folder).join(', ')}`,
    );
  return found;
}
