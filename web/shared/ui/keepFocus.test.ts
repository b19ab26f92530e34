import { beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { keepFocus } from './keepFocus';
import { lastUsed } from './lastUsed';

const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
const focused = () => document.activeElement?.textContent;

function element<Kind extends Element>(selector: string): Kind {
  return document.querySelector<Kind>(selector)!;
}

let atTheStart: string | null | undefined;

beforeAll(async () => {
  showPage();
  const button = element('#next');
  element('#step').outerHTML = '<p>Choose</p>';
  keepFocus(button);
  await settle();
  atTheStart = focused();
});

beforeEach(showPage);

function showPage(): void {
  document.body.innerHTML = `
    <div id="app">
      <header><h1>Payment</h1></header>
      <main><div id="step"><button id="next">Next</button></div></main>
      <ul>${[1, 2, 3].map((number) => `<li><h2>Card ${number}</h2><button>No</button></li>`).join('')}</ul>
    </div>`;
}

test('a step that was over before the code had loaded moves the focus too', () => {
  expect(atTheStart).toBe('Payment');
});

test('after a step, the focus moves to the heading of the next step', async () => {
  element<HTMLElement>('#next').focus();
  element('#step').outerHTML = '<section><h2>Summary</h2><button>Pay</button></section>';
  await settle();
  expect(focused()).toBe('Summary');
});

test('a step without a heading of its own moves the focus to the heading of the screen', async () => {
  element<HTMLElement>('#next').focus();
  element('#step').outerHTML = '<p>Choose</p>';
  await settle();
  expect(focused()).toBe('Payment');
});

test.each([
  ['the next card', [1], 'Card 2'],
  ['the next card, in the middle of the list', [2], 'Card 3'],
  ['the card before it, if it was the last card', [3], 'Card 2'],
  ['the nearest card that is left', [2, 3], 'Card 1'],
])('when a card closes, the focus moves to %s', async (_, closed, heading) => {
  const cards = [...document.querySelectorAll('li')];
  cards[closed[0]! - 1]!.querySelector('button')!.focus();
  for (const number of closed) cards[number - 1]!.remove();
  await settle();
  expect(focused()).toBe(heading);
});

test('while a card is open, the focus stays on this card', async () => {
  element<HTMLElement>('li:nth-child(2) button').focus();
  element('li:nth-child(2) button').remove();
  await settle();
  expect(focused()).toBe('Card 2');
});

test.each([
  ['pointerdown', true],
  ['keydown', false],
])('after a %s, the page does not scroll to the heading: %s', async (type, preventScroll) => {
  const focus = vi.spyOn(HTMLElement.prototype, 'focus');
  element<HTMLElement>('li button').focus();
  document.body.dispatchEvent(new Event(type, { bubbles: true }));
  element('li').remove();
  await settle();
  expect(focus).toHaveBeenLastCalledWith({ preventScroll });
  focus.mockRestore();
});

/** Safari does not focus a button that the person taps. */
function tapInSafari(button: Element): void {
  button.dispatchEvent(new MouseEvent('click', { bubbles: true }));
}

test('in Safari too, the focus moves to the heading of the next step', async () => {
  tapInSafari(element('#next'));
  element('#step').outerHTML = '<section><h2>Summary</h2><button>Pay</button></section>';
  await settle();
  expect(focused()).toBe('Summary');
});

test('in Safari too, the button that opened a dialog is known, until the person taps beside it', () => {
  tapInSafari(element('#next'));
  expect(lastUsed()?.id).toBe('next');
  tapInSafari(element('h1'));
  expect(lastUsed()).toBeNull();
});

test('a dialog whose opener is gone leaves the focus on the heading of the screen', async () => {
  element('#app').insertAdjacentHTML(
    'beforeend',
    '<dialog open><h2>Question</h2><button>Yes</button></dialog>',
  );
  element<HTMLElement>('dialog button').focus();
  element('dialog').remove();
  await settle();
  expect(focused()).toBe('Payment');
});

test('inside a dialog, the focus stays inside', async () => {
  element('#app').insertAdjacentHTML(
    'beforeend',
    '<dialog open><h2>Question</h2><button>Yes</button></dialog>',
  );
  element<HTMLElement>('dialog button').focus();
  element('dialog button').remove();
  await settle();
  expect(focused()).toBe('Question');
});

test('while the next screen is loading, the focus waits for its heading', async () => {
  element<HTMLElement>('#next').focus();
  element('#app').innerHTML = '<p>Loading</p>';
  await settle();
  expect(document.activeElement).toBe(document.body);
  element('#app').innerHTML = '<h1>Home</h1>';
  await settle();
  expect(focused()).toBe('Home');
});

test('a component that moves the focus itself has precedence', async () => {
  element<HTMLElement>('#next').focus();
  element('#step').outerHTML = '<h2>Code</h2><input id="code">';
  element<HTMLElement>('#code').focus();
  await settle();
  expect(document.activeElement?.id).toBe('code');
});

test('an element that the person has left takes no focus along', async () => {
  element<HTMLElement>('#next').focus();
  element<HTMLElement>('#next').blur();
  await settle();
  element('#step').remove();
  await settle();
  expect(document.activeElement).toBe(document.body);
});
