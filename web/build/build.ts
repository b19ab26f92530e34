/** Builds each client into its own folder of web/dist/. No client needs files of another client. */
import { rmSync } from 'node:fs';
import { build } from 'vite';
import { CLIENTS, WEB } from './clients.ts';

rmSync(`${WEB}dist`, { recursive: true, force: true });
for (const client of CLIENTS) {
  await build({ configFile: `${WEB}build/config.ts`, mode: client.folder, logLevel: 'warn' });
  console.log(`built web/dist/${client.path}`);
}
