import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { WEB } from './clients.ts';

/** Vitest's configuration for the unit tests. Each test file is in the folder of the module that it tests. */
export default defineConfig({
  root: WEB,
  base: '/app/',
  plugins: [svelte({ configFile: `${WEB}svelte.config.js` })],
  // Without the condition `browser`, Vitest would load Svelte's code for servers. In Svelte's code for servers, state
  // is not reactive.
  resolve: { conditions: ['browser'] },
  test: {
    include: ['**/*.test.ts'],
    exclude: ['node_modules', 'dist'],
    environment: 'happy-dom',
    // All files share one worker with one DOM, because starting a DOM takes longer than running all tests.
    maxWorkers: 1,
    isolate: false,
  },
});
