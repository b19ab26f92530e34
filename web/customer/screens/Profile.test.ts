import { flushSync, mount, unmount } from 'svelte';
import { afterEach, expect, test, vi } from 'vitest';
import { loadScreenWords } from '../../shared/words/language.svelte';
import { journey } from '../journey.svelte';
import Profile from './Profile.svelte';

const fetched = vi.fn<typeof fetch>();

afterEach(() => {
  vi.unstubAllGlobals();
  document.body.innerHTML = '';
});

/**
 * Opens the profile of a customer with this name, saves the name `typed`, and returns the data that the client sent.
 */
async function save(name: string, typed: string): Promise<unknown[]> {
  await loadScreenWords();
  fetched
    .mockReset()
    .mockImplementation(() => Promise.resolve(Response.json({ call_name: typed, items: [] })));
  vi.stubGlobal('fetch', fetched);
  journey.applyProfile({ ...journey.profile!, call_name: name });
  const screen = mount(Profile, { target: document.body });
  flushSync();
  const input = document.querySelector('input')!;
  input.value = typed;
  input.dispatchEvent(new Event('input', { bubbles: true }));
  document.querySelector('form')!.dispatchEvent(new Event('submit', { bubbles: true, cancelable: true }));
  await vi.waitFor(() => expect(journey.profile?.call_name).toBe(typed));
  const changes = fetched.mock.calls.filter(([, options]) => options?.method === 'PATCH');
  await unmount(screen);
  return changes.map(([, options]) => JSON.parse(options!.body as string) as unknown);
}

test('a name that has not changed is not sent, because the server may refuse an old name', async () => {
  expect(await save('Tim Curhat', 'Tim Curhat')).toEqual([]);
});

test('a new name is sent', async () => {
  expect(await save('Tim Curhat', 'Melati')).toEqual([{ call_name: 'Melati' }]);
});
