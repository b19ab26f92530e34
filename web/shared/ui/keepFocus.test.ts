import { beforeAll, beforeEach, expect, test } from 'vitest';
import { keepFocus } from './keepFocus';

const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
const focused = () => document.activeElement?.textContent;

function element<Kind extends Element>(selector: string): Kind {
  return document.querySelector<Kind>(selector)!;
}

beforeAll(keepFocus);

beforeEach(() => {
  document.body.innerHTML = `
    <div id="app">
      <header><h1>Payment</h1></header>
      <main><div id="step"><button id="next">Next</button></div></main>
      <ul><li id="one"><h2>First card</h2><button>No</button></li><li><h2>Second card</h2></li></ul>
    </div>`;
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

test('when a card closes, the focus moves to the next card', async () => {
  element<HTMLElement>('#one button').focus();
  element('#one').remove();
  await settle();
  expect(focused()).toBe('Second card');
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
