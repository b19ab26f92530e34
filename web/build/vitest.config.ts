import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { WEB } from './clients.ts';

/** Vitest's configuration for the unit tests. Each test is beside the module that it tests. */
export default defineConfig({
  root: WEB,
  base: '/app/',
  plugins: [svelte({ configFile: `${WEB}svelte.config.js` })],
  // Without this condition, Vitest would load Svelte's code for servers, in which state is not reactive.
  resolve: { conditions: ['browser'] },
  test: {
    include: ['**/*.test.ts'],
    exclude: ['node_modules', 'dist'],
    environment: 'happy-dom',
    // One worker with one DOM for all files: the DOM takes longer to start than all tests to run.
    maxWorkers: 1,
    isolate: false,
  },
});
