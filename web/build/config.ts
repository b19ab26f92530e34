import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { buildTargets } from './baseline.ts';
import { clientIn, WEB } from './clients.ts';
import { shell } from './shell.ts';

/** Vite's configuration of one client, which the mode names: `vite build -c build/config.ts --mode customer`. */
export default defineConfig(({ mode }) => {
  const client = clientIn(mode);
  return {
    root: `${WEB}${client.folder}`,
    base: `/${client.path}/`,
    publicDir: 'public',
    envDir: false,
    plugins: [svelte({ configFile: `${WEB}svelte.config.js` }), shell(client)],
    build: {
      outDir: `${WEB}dist/${client.path}`,
      emptyOutDir: true,
      target: buildTargets(),
      // No file becomes a data: address, which the content security policy forbids.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
    },
  };
});
