/** Runs shared/boot.js in a fake page, and compares its probes with the browsers of .browserslistrc. */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { OLDEST_VERSIONS, supportOf } from './baseline.ts';
import { WEB } from './clients.ts';

const source = readFileSync(`${WEB}shared/boot.js`, 'utf8');
const reload = vi.fn();
let probedStatus = 200;
let listeners: Record<string, () => void>;

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

/** Runs boot.js in a browser that lacks `without`. */
function boot(without = ''): void {
  listeners = {};
  const page = {
    CSS: { supports: () => without !== 'inset' },
    BigInt64Array: without === 'BigInt64Array' ? undefined : BigInt64Array,
    addEventListener: (type: string, listener: () => void) => (listeners[type] = listener),
  };
  const Intl = {
    DateTimeFormat: { prototype: without === 'formatRange' ? {} : { formatRange: () => undefined } },
  };
  const location = { href: '/app/', reload };
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
    // start.ts then does not start the app.
    expect(document.getElementById('app')).toBeNull();
  },
);

test('a supported browser sees nothing of boot.js', () => {
  boot();
  expect(text()).toBe('');
});

test('a script that the new version no longer has reloads the page once', () => {
  boot();
  listeners.error!();
  expect(reload).toHaveBeenCalledTimes(1);
  boot();
  listeners.error!();
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
    listeners.error!();
    expect(reload).not.toHaveBeenCalled();
    expect(text()).toContain('Aplikasi ini belum termuat.');
  },
);

test('an error of the running app is not the matter of boot.js', () => {
  boot();
  document.getElementById('app')!.append('chat');
  listeners.error!();
  expect(reload).not.toHaveBeenCalled();
  expect(text()).toBe('chat');
});
