/** The ways in which the person can install the app on this phone. */

/** The event `beforeinstallprompt`, which only browsers based on Chromium have. */
interface InstallPrompt extends Event {
  prompt: () => Promise<unknown>;
}

let offered = $state.raw<InstallPrompt>();

/**
 * Keeps the browser's offer to install the app until a screen shows the button for it, because the offer comes once.
 */
export function listenForInstallPrompt(): void {
  addEventListener('beforeinstallprompt', (event) => {
    // Without `preventDefault`, the browser shows its own bar, even in the middle of a payment.
    event.preventDefault();
    offered = event as InstallPrompt;
  });
  addEventListener('appinstalled', () => (offered = undefined));
}

/**
 * Whether Safari on a phone shows the app as a page. Safari on a phone shows notifications only for an app on the home
 * screen.
 */
export const isPageOnIos = (navigator as { standalone?: boolean }).standalone === false;

/**
 * Returns the way to install the app. Returns undefined if the app is installed or this browser cannot install apps.
 */
export function wayToInstall(): 'button' | 'ios' | undefined {
  if (offered !== undefined) return 'button';
  return isPageOnIos ? 'ios' : undefined;
}

/** Asks the person whether to install the app. Called when the person presses the button for the installation. */
export async function install(): Promise<void> {
  const asked = offered;
  // The browser asks only once for each event.
  offered = undefined;
  await asked?.prompt();
}
