import { afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { startPressGuard } from './pressGuard';

const PLACE = { x: 100, y: 300 };
let now = 0;
let pressed: string[] = [];

beforeAll(startPressGuard);

beforeEach(() => {
  now += 10_000;
  pressed = [];
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  document.body.innerHTML = '';
});

afterEach(() => {
  vi.restoreAllMocks();
  document.body.innerHTML = '';
});

/** Adds an element at this place (its upper left corner). The element records its presses. */
function add(name: string, { x, y } = PLACE, parent: Element = document.body, tag = 'button'): HTMLElement {
  const element = document.createElement(tag);
  element.append(name);
  element.addEventListener('click', ({ target }) => target === element && pressed.push(name));
  parent.append(element);
  move(element, { x, y });
  return element;
}

function move(element: HTMLElement, { x, y }: { x: number; y: number }): void {
  element.getBoundingClientRect = () => new DOMRect(x, y, 200, 48);
}

/** Lets the page draw. */
async function pass(milliseconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
  await new Promise(requestAnimationFrame);
  now += milliseconds;
}

const FINGER = { pointerType: 'touch', width: 20, height: 20, pressure: 1 };

/** Taps before the page draws its latest change. */
async function tap(element: HTMLElement, { x, y } = PLACE, pointer: object = FINGER): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
  const place = { bubbles: true, cancelable: true, clientX: x, clientY: y, ...pointer };
  for (const event of [
    new PointerEvent('pointerdown', place),
    new PointerEvent('click', { ...place, detail: 1 }),
  ]) {
    Object.defineProperty(event, 'timeStamp', { value: now });
    if ('isTrusted' in pointer) Object.defineProperty(event, 'isTrusted', { value: true });
    element.dispatchEvent(event);
  }
}

test('a button takes a press after half a second, and not before', async () => {
  const button = add('Bayar');
  await tap(button);
  await pass(499);
  await tap(button);
  expect(pressed).toEqual([]);
  await pass(2);
  await tap(button);
  expect(pressed).toEqual(['Bayar']);
});

test.each([60, 150, 300])('a tap %i ms after another does not press what the other opened', async (gap) => {
  const stop = add('Berhenti mencari');
  await pass(1_000);
  stop.addEventListener('click', () => add('Ya, berhenti'));
  await tap(stop);
  await pass(gap);
  await tap(stop.nextElementSibling as HTMLElement);
  expect(pressed).toEqual(['Berhenti mencari']);
});

test('a series of taps presses once, however long it is', async () => {
  const first = add('Tolak Melati');
  await pass(1_000);
  await tap(first);
  first.remove();
  const next = add('Tolak Mawar');
  for (let count = 0; count < 10; count++) {
    await pass(300);
    await tap(next);
  }
  expect(pressed).toEqual(['Tolak Melati']);
  await pass(501);
  await tap(next);
  expect(pressed).toEqual(['Tolak Melati', 'Tolak Mawar']);
});

test('a button that moves under the finger takes no press', async () => {
  const button = add('Terima');
  await pass(1_000);
  move(button, { x: 100, y: 360 });
  button.after('A card above has closed');
  await tap(button);
  expect(pressed).toEqual([]);
  await pass(501);
  await tap(button);
  expect(pressed).toEqual(['Terima']);
});

test('a button that the person has scrolled to takes a press at once', async () => {
  const area = document.createElement('div');
  document.body.append(area);
  const button = add('Muat lebih banyak', PLACE, area);
  await pass(1_000);
  move(button, { x: 100, y: 100 });
  dispatchEvent(new Event('touchmove'));
  area.dispatchEvent(new Event('scroll'));
  await tap(button);
  expect(pressed).toEqual(['Muat lebih banyak']);
});

test('a button that moves because the page scrolls by itself takes no press', async () => {
  const button = add('Terima');
  await pass(1_000);
  move(button, { x: 100, y: 100 });
  document.dispatchEvent(new Event('scroll'));
  await tap(button);
  expect(pressed).toEqual([]);
});

test('a fling without a finger is still the scroll of the person', async () => {
  const button = add('Terima');
  await pass(1_000);
  dispatchEvent(new Event('touchmove'));
  for (let frame = 0; frame < 5; frame++) {
    now += 150;
    document.dispatchEvent(new Event('scroll'));
  }
  move(button, { x: 100, y: 100 });
  await tap(button);
  expect(pressed).toEqual(['Terima']);
});

test('a button that moves after the scroll takes no press', async () => {
  const button = add('Terima');
  await pass(1_000);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  dispatchEvent(new Event('touchmove'));
  document.dispatchEvent(new Event('scroll'));
  vi.advanceTimersByTime(100);
  vi.useRealTimers();
  now += 300;
  move(button, { x: 100, y: 110 });
  button.after('A card above has closed');
  await tap(button);
  expect(pressed).toEqual([]);
});

test('a switch does not switch back at the second tap', async () => {
  const button = add('');
  button.setAttribute('aria-checked', 'false');
  button.addEventListener('click', () => button.setAttribute('aria-checked', 'true'));
  await pass(1_000);
  await tap(button);
  await pass(150);
  await tap(button);
  expect(pressed).toHaveLength(1);
});

test('a button with another text does not do the other thing at the second tap', async () => {
  const button = add('English');
  button.addEventListener('click', () => (button.textContent = 'Bahasa Indonesia'));
  await pass(1_000);
  await tap(button);
  await pass(150);
  await tap(button);
  expect(pressed).toEqual(['English']);
});

test('a button that was under a dialog takes no press when the dialog has just closed', async () => {
  const button = add('Berhenti mencari');
  const dialog = add('', { x: 0, y: 0 }, document.body, 'dialog');
  dialog.setAttribute('open', '');
  await pass(1_000);
  dialog.remove();
  await tap(button);
  expect(pressed).toEqual([]);
});

test('the place beside a dialog that has just opened takes no press', async () => {
  await pass(1_000);
  const dialog = add('beside', { x: 0, y: 0 }, document.body, 'dialog');
  dialog.setAttribute('open', '');
  await tap(dialog);
  expect(pressed).toEqual([]);
  await pass(501);
  await tap(dialog);
  expect(pressed).toEqual(['beside']);
});

test('two taps in different places press two buttons', async () => {
  const offer = add('30 menit');
  const next = add('Lanjut', { x: 100, y: 600 });
  await pass(1_000);
  await tap(offer);
  await pass(200);
  await tap(next, { x: 120, y: 610 });
  expect(pressed).toEqual(['30 menit', 'Lanjut']);
});

test('the place beside a dialog of an old browser takes no press before the dialog was read', async () => {
  const shade = add('beside', { x: 0, y: 0 }, document.body, 'div');
  shade.className = 'shade';
  add('', { x: 0, y: 0 }, document.body, 'dialog').setAttribute('open', '');
  await tap(shade);
  expect(pressed).toEqual([]);
  await pass(501);
  await tap(shade);
  expect(pressed).toEqual(['beside']);
});

test.each(['checkbox', 'radio'])('a %s without a label takes no press before it was read', async (type) => {
  const input = add('row', PLACE, document.body, 'input') as HTMLInputElement;
  input.type = type;
  await tap(input);
  expect(pressed).toEqual([]);
});

test('a key presses at once', () => {
  const button = add('Ya, berhenti');
  button.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true, detail: 0 }));
  expect(pressed).toEqual(['Ya, berhenti']);
});

const ANDROID = 'Mozilla/5.0 (Linux; Android 10; K) Chrome/120.0.0.0 Mobile';
const MAC = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1.15';

test.each([
  ['TalkBack in Chrome', ANDROID, { pointerType: 'mouse', width: 1, height: 1, pressure: 0 }, true],
  ['a screen reader whose pointer has no size', MAC, { pointerType: 'touch', width: 0, height: 0 }, true],
  ['a screen reader in Firefox', MAC, { pointerType: '', width: 1, height: 1, isTrusted: true }, true],
  ['a mouse in Safari, which names no pressure', MAC, { pointerType: 'mouse', width: 1, height: 1 }, false],
  ['a finger on a phone that measures no size', ANDROID, { ...FINGER, width: 0, height: 0 }, false],
  ['a script of the page', MAC, { pointerType: '', width: 1, height: 1 }, false],
])('%s presses at once: %s, %o, %s', async (_, userAgent, pointer, isAtOnce) => {
  vi.spyOn(navigator, 'userAgent', 'get').mockReturnValue(userAgent);
  await tap(add('Ya, berhenti'), PLACE, pointer);
  expect(pressed).toEqual(isAtOnce ? ['Ya, berhenti'] : []);
});
