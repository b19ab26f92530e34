import { flushSync, mount, unmount } from 'svelte';
import { afterEach, expect, test, vi } from 'vitest';
import { loadScreenWords } from '../words/language.svelte';
import { shared } from '../words/shared';
import Devices from './Devices.svelte';

const fetched = vi.fn<typeof fetch>();

afterEach(() => {
  vi.unstubAllGlobals();
  document.body.innerHTML = '';
});

async function expectText(text: string): Promise<void> {
  await vi.waitFor(() => {
    flushSync();
    expect(document.body.textContent).toContain(text);
  });
}

test('a list of devices that was opened without a network fills when the network is back', async () => {
  await loadScreenWords();
  vi.stubGlobal('fetch', fetched);
  const device = { id: '1', user_agent: '', last_seen_at: '2026-01-01T00:00:00Z', current: true };
  fetched.mockRejectedValueOnce(new TypeError('Failed to fetch'));
  fetched.mockResolvedValueOnce(Response.json({ items: [device] }));
  const list = mount(Devices, { target: document.body, props: { role: 'customer' } });
  await expectText(shared().loading);
  await expectText(shared().errors.unreachable);
  dispatchEvent(new Event('online'));
  await expectText(shared().devices.current);
  expect(document.body.textContent).not.toContain(shared().errors.unreachable);
  await unmount(list);
});
