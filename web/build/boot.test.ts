/** Runs the built boot.js in a fake page, and compares the probes of boot.js with the browsers of .browserslistrc. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { OLDEST_VERSIONS, supportOf } from './baseline.ts';
import { createBoot } from './shell.ts';

const source = createBoot();
const reload = vi.fn();
let probedStatus = 200;
let listeners: Record<string, (event: object) => void>;
const BOOT = 'https://curhat.example/app/boot.js';
/** The event that a browser fires when it cannot fetch the app's script. */
const MISSING = { target: { src: 'https://curhat.example/app/assets/first-AAAAAAAA.js' } };

class FakeRequest {
  status = 0;
  onload = (): void => undefined;
  onerror = (): void => undefined;
  open(): void {}
  send(): void {
    this.status = probedStatus;
    if (probedStatus === 0) this.onerror();
    else this.onload();
  }
}

beforeEach(() => {
  sessionStorage.clear();
  reload.mockReset();
  probedStatus = 200;
  document.body.innerHTML = '<div id="app"></div>';
});

afterEach(() => {
  document.body.innerHTML = '';
});

/** Runs boot.js in a fake browser. The parameter `without` names a function that the fake browser lacks. */
function boot(without = ''): void {
  listeners = {};
  const page = {
    CSS: { supports: () => without !== 'inset' },
    BigInt64Array: without === 'BigInt64Array' ? undefined : BigInt64Array,
    addEventListener: (type: string, listener: (event: object) => void) => (listeners[type] = listener),
  };
  const Intl = {
    DateTimeFormat: { prototype: without === 'formatRange' ? {} : { formatRange: () => undefined } },
  };
  const location = { href: '/app/', reload };
  Object.defineProperty(document, 'currentScript', { value: { src: BOOT }, configurable: true });
  const run = new Function('window', 'CSS', 'Intl', 'XMLHttpRequest', 'location', source);
  run(page, page.CSS, Intl, FakeRequest, location);
}

function text(): string {
  return document.body.textContent ?? '';
}

test('the three probes find exactly the browsers that are older than those of .browserslistrc', () => {
  const probes = [
    ['css', 'properties', 'inset'],
    ['javascript', 'builtins', 'BigInt64Array'],
    ['javascript', 'builtins', 'Intl', 'DateTimeFormat', 'formatRange'],
  ];
  for (const probe of probes) expect(source).toContain(probe[probe.length - 1]);
  const names = { chrome: 'chrome', safari: 'safari', ios_saf: 'safari_ios', firefox: 'firefox' };
  const oldest = Object.entries(names).map(([name, mdnName]) => {
    const versions = probes.map((probe) => [supportOf(probe)![mdnName]].flat()[0]!.version_added);
    return [name, Math.max(...versions.map((version) => Number(version)))];
  });
  expect(Object.fromEntries(oldest)).toEqual(Object.fromEntries(OLDEST_VERSIONS));
});

test.each(['inset', 'BigInt64Array', 'formatRange'])(
  'a browser without %s is told in Indonesian and English that it is too old',
  (name) => {
    boot(name);
    expect(text()).toContain('Peramban ini terlalu lama');
    expect(text()).toContain('This browser is too old');
    // Without the element `#app`, start.ts does not start the app.
    expect(document.getElementById('app')).toBeNull();
  },
);

test('the built boot.js has no syntax that an old browser cannot read', () => {
  expect(source).not.toMatch(/`|=>|\b(let|const|class)\b/);
});

test('a supported browser sees nothing of boot.js', () => {
  boot();
  expect(text()).toBe('');
});

test('a script that the new version no longer has reloads the page once', () => {
  boot();
  listeners.error!(MISSING);
  expect(reload).toHaveBeenCalledTimes(1);
  boot();
  listeners.error!(MISSING);
  expect(reload).toHaveBeenCalledTimes(1);
  expect(text()).toContain('Aplikasi ini belum termuat.');
  document.querySelector('button')!.click();
  expect(reload).toHaveBeenCalledTimes(2);
});

test.each([0, 502])(
  'while the server does not serve the page (%i), the page does not reload by itself',
  (status) => {
    probedStatus = status;
    boot();
    listeners.error!(MISSING);
    expect(reload).not.toHaveBeenCalled();
    expect(text()).toContain('Aplikasi ini belum termuat.');
  },
);

const ASSET = 'https://curhat.example/app/assets/first-AAAAAAAA.js';
const OURS = [
  ['a script that was not fetched', 'error', { target: { src: ASSET } }],
  ['a style that was not fetched', 'error', { target: { href: ASSET.replace('.js', '.css') } }],
  ['an error of our script', 'error', { target: {}, filename: ASSET }],
  ['a promise of our script', 'unhandledrejection', { target: {}, reason: { stack: `f@${ASSET}:1:2` } }],
] as const;
const FOREIGN = [
  ['a script that another app added', 'error', { target: {}, filename: 'https://curhat.example/app/' }],
  ['an error without a place', 'error', { target: {}, filename: '' }],
  ['a foreign file', 'error', { target: { src: 'https://other.example/assets/first.js' } }],
  ['an icon', 'error', { target: { href: 'https://curhat.example/app/icons/icon.svg' } }],
  [
    'a foreign promise',
    'unhandledrejection',
    { target: {}, reason: { stack: 'f@https://other.example:1:2' } },
  ],
  ['a promise without a reason', 'unhandledrejection', { target: {}, reason: undefined }],
] as const;

test.each(OURS)('before the first screen, %s reloads the page', (_, type, event) => {
  boot();
  listeners[type]!(event);
  expect(reload).toHaveBeenCalledTimes(1);
});

test.each(FOREIGN)('%s does not reload the page, and hides nothing', (_, type, event) => {
  boot();
  listeners[type]!(event);
  expect(reload).not.toHaveBeenCalled();
  expect(document.body.innerHTML).toBe('<div id="app"></div>');
});

test('an app that starts after a failure finds its place', () => {
  probedStatus = 0;
  boot();
  listeners.error!(MISSING);
  expect(document.getElementById('app')!.textContent).toContain('Aplikasi ini belum termuat.');
});

test('an error of the running app is not the matter of boot.js', () => {
  boot();
  document.getElementById('app')!.append('chat');
  listeners.error!(MISSING);
  expect(reload).not.toHaveBeenCalled();
  expect(text()).toBe('chat');
});
