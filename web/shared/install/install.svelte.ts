/** How the person can install the app on this phone. */

/** The event `beforeinstallprompt`, which only Chrome and its relatives have. */
interface InstallPrompt extends Event {
  prompt: () => Promise<unknown>;
}

let offered = $state.raw<InstallPrompt>();

/** Keeps the browser's offer to install the app, which comes once, until a screen shows a button for it. */
export function listenForInstallPrompt(): void {
  addEventListener('beforeinstallprompt', (event) => {
    // Without this call, the browser shows its own bar, in the middle of a payment too.
    event.preventDefault();
    offered = event as InstallPrompt;
  });
  addEventListener('appinstalled', () => (offered = undefined));
}

/** Whether Safari on a phone shows the app as a page. It shows notifications only in an app on the home screen. */
export const isPageOnIos = (navigator as { standalone?: boolean }).standalone === false;

/** Returns how to install the app; undefined if it is installed, or if this browser cannot install it. */
export function wayToInstall(): 'button' | 'ios' | undefined {
  if (offered !== undefined) return 'button';
  return isPageOnIos ? 'ios' : undefined;
}

/** Asks the person whether to install the app. Call it when the person presses the button. */
export async function install(): Promise<void> {
  const asked = offered;
  // The browser asks only once for each event.
  offered = undefined;
  await asked?.prompt();
}
