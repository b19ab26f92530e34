import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { BUILD_TARGET, SYNTAX_TARGET } from './baseline.ts';
import { classOf } from './classes.ts';
import { clientIn, WEB } from './clients.ts';
import { shell } from './shell.ts';
import { oldSelectors } from './style.ts';

/**
 * Svelte's code for `#each`, `bind:value`, `bind:this`, `svelte:head` and lists of classes. No screen of the first load
 * uses these five.
 */
const NOT_FIRST =
  /client\/dom\/(blocks\/(each|svelte-head)|elements\/bindings\/(input|this))\.js$|clsx\.mjs$/;

/**
 * Vite's configuration for one client. The mode is the client's name: `vite build -c build/config.ts --mode customer`.
 */
export default defineConfig(({ mode }) => {
  const client = clientIn(mode);
  return {
    root: `${WEB}${client.folder}`,
    base: `/${client.path}/`,
    publicDir: 'public',
    envDir: false,
    plugins: [
      svelte({
        configFile: `${WEB}svelte.config.js`,
        compilerOptions: { cssHash: ({ hash, filename, css }) => classOf(hash, filename ?? css) },
      }),
      oldSelectors(),
      shell(client),
    ],
    build: {
      outDir: `${WEB}dist/${client.path}`,
      emptyOutDir: true,
      // The build converts syntax that the oldest browsers cannot read. The build does not replace missing functions.
      target: SYNTAX_TARGET,
      cssTarget: BUILD_TARGET,
      // No file becomes a `data:` URL, because the content security policy forbids such URLs.
      assetsInlineLimit: 0,
      modulePreload: {
        polyfill: false,
        // The list of the files that each screen needs would make the first load of signed-in people 0.5 KB larger. Until
        // the service worker has stored all files, a screen's files are fetched one after the other. Styles are only in
        // this list.
        resolveDependencies: (_file, dependencies, { hostId }) =>
          hostId.includes('/signed-in-')
            ? dependencies.filter((file) => file.endsWith('.css'))
            : dependencies,
      },
      reportCompressedSize: false,
      // One file has all code that main.ts imports, because every visit needs all of this code. A second file has the
      // code that only a signed-in person needs. If this code were in more files, the files together would be larger
      // after compression. Code that the sign-in also needs stays in `first` or `common`. A signed-out person therefore
      // never loads the second file.
      rolldownOptions: {
        // Without this, `first` would load the file `lists` only to run its modules, which do nothing when they run.
        treeshake: { moduleSideEffects: [{ test: NOT_FIRST, sideEffects: false }] },
        output: {
          // No compression makes a hash smaller, and the first load names many files. Seven characters tell the builds
          // apart. `app/static_files.py` knows this length.
          entryFileNames: 'assets/[name]-[hash:7].js',
          chunkFileNames: 'assets/[name]-[hash:7].js',
          assetFileNames: 'assets/[name]-[hash:7][extname]',
          codeSplitting: {
            groups: [
              {
                name: 'later-parts',
                test: NOT_FIRST,
                priority: 4,
                includeDependenciesRecursively: false,
              },
              {
                name: 'first',
                // The sign-in and the home screen have the button of the help card. Each first load of the customer also
                // has an illustration and formats a price. The first load of the mitra has neither.
                test:
                  mode === 'customer'
                    ? /(main\.ts|ui\/Icon\.svelte|help\/HelpButton\.svelte|Illustration\.svelte|time\/format\.ts)$/
                    : /(main\.ts|ui\/Icon\.svelte|help\/HelpButton\.svelte)$/,
                priority: 3,
              },
              { name: 'common', test: /time\/format\.ts$/, priority: 2 },
              { name: 'signed-in', test: /SignedIn\.svelte$/, priority: 1 },
            ],
          },
        },
      },
    },
  };
});
