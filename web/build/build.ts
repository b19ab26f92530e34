/** Builds every client into web/dist/, each a folder of its own that needs nothing from the others. */
import { rmSync } from 'node:fs';
import { build } from 'vite';
import { CLIENTS, WEB } from './clients.ts';

rmSync(`${WEB}dist`, { recursive: true, force: true });
for (const client of CLIENTS) {
  await build({ configFile: `${WEB}build/config.ts`, mode: client.folder, logLevel: 'warn' });
  console.log(`built web/dist/${client.path}`);
}
