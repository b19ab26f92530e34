/**
 * A Svelte action for a screen with its own scroll area, such as a chat. While this screen is open, the app is exactly
 * as high as the phone. A style sheet alone cannot set this height, because Chrome 104 and Firefox 120 have no
 * `:has()`.
 */
export function bounded(screen: HTMLElement): { destroy: () => void } {
  const app = screen.closest('.app');
  app?.classList.add('has-bounded');
  return { destroy: () => app?.classList.remove('has-bounded') };
}
