/** The ways in which the person can install the app on this phone. */

/** The event `beforeinstallprompt`. Only browsers based on Chromium send this event. */
interface InstallPrompt extends Event {
  prompt: () => Promise<unknown>;
}

let offered = $state.raw<InstallPrompt>();

/**
 * Keeps the browser's offer to install the app, because the browser makes the offer only once. A screen later shows the
 * button for the installation.
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
 * Whether the app is open as a page in Safari on a phone. Safari on a phone shows notifications only for an app on the
 * home screen.
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
  // The browser asks the person only once per event `beforeinstallprompt`.
  offered = undefined;
  await asked?.prompt();
}
