/**
 * A Vite plugin that makes a client installable and fast. The plugin writes the manifest, boot.js, the service worker
 * with its list of files, and a compressed copy of each text file.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { minifySync, transformWithOxc, type Plugin } from 'vite';
import { SYNTAX_TARGET } from './baseline.ts';
import { findUnsupported } from './bundle.ts';
import { WEB, type Client } from './clients.ts';
import { findUnsupportedStyle } from './style.ts';

const COMPRESSED = /\.(html|js|css|svg|webmanifest|json|txt)$/;
/** A file below this size needs only one network packet, even without compression. */
const MIN_COMPRESSED_BYTES = 512;

export function shell(client: Client): Plugin {
  const out = `${WEB}dist/${client.path}`;
  return {
    name: 'curhat-shell',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler: (html) => ({
        html: html.replace(/\s+/g, ' ').replace(/> </g, '><'),
        // The browser runs boot.js before the module script, so boot.js can report why the module script does not run.
        tags: [
          {
            tag: 'script',
            attrs: { defer: true, src: `/${client.path}/boot.js` },
            injectTo: 'head-prepend',
          },
        ],
      }),
    },
    generateBundle(_, bundle) {
      for (const file of Object.values(bundle)) {
        if (file.type === 'chunk') refuse(file.fileName, findUnsupported(file.code));
        else if (file.fileName.endsWith('.css'))
          refuse(file.fileName, findUnsupportedStyle(file.source.toString()));
      }
    },
    async writeBundle() {
      writeFileSync(join(out, 'boot.js'), createBoot());
      writeFileSync(join(out, 'manifest.webmanifest'), createManifest(client));
      writeFileSync(join(out, 'worker.js'), await createWorker(client, out));
      for (const file of listFiles(out)) {
        const bytes = readFileSync(join(out, file));
        if (!COMPRESSED.test(file) || bytes.length < MIN_COMPRESSED_BYTES) continue;
        const quality = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
        writeFileSync(join(out, `${file}.br`), brotliCompressSync(bytes, { params: quality }));
        writeFileSync(join(out, `${file}.gz`), gzipSync(bytes, { level: 9 }));
      }
    },
  };
}

/** Stops the build if a file uses something that a browser of .browserslistrc lacks. */
function refuse(file: string, names: string[]): void {
  if (names.length > 0) throw new Error(`${file}: a browser of .browserslistrc lacks ${names.join(', ')}`);
}

/** Returns the manifest. Without the manifest, a browser does not offer to install the client. */
export function createManifest(client: Client): string {
  const base = `/${client.path}/`;
  const icon = (size: number, purpose: string, suffix = '') => ({
    src: `${base}icons/icon-${size}${suffix}.png`,
    sizes: `${size}x${size}`,
    type: 'image/png',
    purpose,
  });
  return JSON.stringify({
    id: base,
    start_url: base,
    scope: base,
    name: client.name,
    short_name: client.shortName,
    description: client.description,
    lang: 'id',
    dir: 'ltr',
    display: 'standalone',
    ...(client.folder === 'control-center' ? {} : { orientation: 'portrait' }),
    background_color: '#faf6f1',
    theme_color: '#faf6f1',
    icons: [icon(192, 'any'), icon(512, 'any'), icon(512, 'maskable', '-maskable')],
  });
}

/**
 * Returns boot.js with short names, and without comments and spaces. The minifier keeps the syntax, so an old browser
 * can read the result. But the minifier writes each string with backticks, so replace the backticks with quotation
 * marks. The strings of boot.js contain no backticks and no quotation marks.
 */
export function createBoot(): string {
  const source = readFileSync(`${WEB}shared/boot.js`, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  if (/["`]/.test(source)) throw new Error('shared/boot.js has a backtick or a quotation mark');
  return minifySync('boot.js', source, { compress: false, mangle: true }).code.replace(/`/g, '"');
}

async function createWorker(client: Client, out: string): Promise<string> {
  const cached = listFiles(out).filter((file) => !file.endsWith('.map') && !file.startsWith('icons/'));
  const version = createHash('sha256');
  for (const file of cached) version.update(file).update(readFileSync(join(out, file)));
  const base = `/${client.path}/`;
  // The browser requests index.html by the path of the folder that contains index.html.
  const files = cached.map((file) => base + (file === 'index.html' ? '' : file));
  return compileWorker({
    VERSION: version.digest('hex').slice(0, 16),
    BASE: base,
    APP_NAME: client.name,
    FILES: files,
  });
}

/** Returns the script of the service worker, with its constants at the beginning. */
export async function compileWorker(constants: Record<string, unknown>): Promise<string> {
  const source = readFileSync(`${WEB}shared/worker/worker.ts`, 'utf8');
  const { code } = await transformWithOxc(source, 'worker.ts', { sourcemap: false, target: SYNTAX_TARGET });
  if (/^\s*(export|import)\b/m.test(code))
    throw new Error(
      'shared/worker/worker.ts is a classic script: a worker with import or export never installs',
    );
  refuse('worker.ts', findUnsupported(code));
  const lines = Object.entries(constants).map(([name, value]) => `const ${name} = ${JSON.stringify(value)};`);
  return `${lines.join('\n')}\n${code}`;
}

function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((file) => file !== 'worker.js')
    .sort();
}
