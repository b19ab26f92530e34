import { beforeEach, expect, test, vi } from 'vitest';

const first = { title: 'Judul' };
const english = vi.fn(() => Promise.resolve({ default: { title: 'Title' } }));
const screens = {
  id: vi.fn(() => Promise.resolve({ default: { send: 'Kirim' } })),
  en: vi.fn(() => Promise.resolve({ default: { send: 'Send' } })),
};

beforeEach(() => {
  vi.clearAllMocks();
  vi.resetModules();
  localStorage.clear();
});

test('the words of later screens are fetched with the first of them, and once', async () => {
  const { dictionary, loadScreenWords } = await import('./language.svelte');
  const words = dictionary(first, english, screens);
  expect(words()).toEqual({ title: 'Judul' });
  await loadScreenWords();
  await loadScreenWords();
  expect(words()).toEqual({ title: 'Judul', send: 'Kirim' });
  expect(screens.id).toHaveBeenCalledTimes(1);
  expect(english).not.toHaveBeenCalled();
});

test('a screen that needs only shared words fetches no words of the client', async () => {
  const { dictionary, loadScreenWords, setLanguage } = await import('./language.svelte');
  const own = dictionary(first, english, screens);
  const shared = dictionary(first, english, { id: screens.en, en: screens.id }, true);
  await loadScreenWords('shared');
  expect(own()).toEqual({ title: 'Judul' });
  expect(shared()).toEqual({ title: 'Judul', send: 'Send' });
  await setLanguage('en');
  expect(own()).toEqual({ title: 'Title' });
  await loadScreenWords();
  expect(own()).toEqual({ title: 'Title', send: 'Send' });
});

test('a person who changes the language gets all words that were fetched before', async () => {
  const { dictionary, loadScreenWords, setLanguage } = await import('./language.svelte');
  const words = dictionary(first, english, screens);
  await loadScreenWords();
  await setLanguage('en');
  expect(words()).toEqual({ title: 'Title', send: 'Send' });
  await setLanguage('id');
  expect(words()).toEqual({ title: 'Judul', send: 'Kirim' });
});

test('a person who has chosen English gets the words of later screens in English only', async () => {
  localStorage.setItem('curhat:language', 'en');
  const { dictionary, loadScreenWords, restoreLanguage } = await import('./language.svelte');
  const words = dictionary(first, english, screens);
  await restoreLanguage();
  expect(words().title).toBe('Title');
  await loadScreenWords();
  expect(words().send).toBe('Send');
  expect(screens.id).not.toHaveBeenCalled();
});

test('words that could not be fetched are fetched again', async () => {
  screens.id.mockRejectedValueOnce(new TypeError('Failed to fetch'));
  const { dictionary, loadScreenWords } = await import('./language.svelte');
  const words = dictionary(first, english, screens);
  await expect(loadScreenWords()).rejects.toThrow(TypeError);
  await loadScreenWords();
  expect(words().send).toBe('Kirim');
});
