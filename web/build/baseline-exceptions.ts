/**
 * The platform functions that the clients use although a browser of .browserslistrc lacks them. The list gives a reason
 * for each function. A function without a reason needs a replacement in shared/baseline.ts.
 */
export const BASELINE_EXCEPTIONS: Readonly<Record<string, string>> = {
  HTMLDialogElement: 'shared/ui/Dialog.svelte asks for it first, and otherwise uses oldDialog.ts',
  // The code in shared/push/ first checks that the browser has all functions for notifications. If a browser lacks one
  // of the functions, the app has no notifications.
  Notification:
    'shared/push/push.svelte.ts, shared/push/start.ts and mitra/screens/Home.svelte ask for it first',
  PushManager: 'shared/push/push.svelte.ts asks for it first',
  PushSubscription: 'exists where PushManager does',
  PushSubscriptionOptions: 'exists where PushManager does',
  'ServiceWorkerRegistration.pushManager': 'exists where PushManager does',
  'ServiceWorkerRegistration.getNotifications': 'exists where Notification does',
  'ServiceWorkerRegistration.showNotification': 'shared/worker/worker.ts: called when a push arrives',
  NotificationEvent: 'shared/worker/worker.ts: exists where it is fired',
  PushEvent: 'shared/worker/worker.ts: exists where it is fired',
  PushMessageData: 'exists where PushEvent does',
  // The client first checks that the function exists.
  'WorkerNavigator.setAppBadge': 'shared/worker/worker.ts: without it, the icon of the app has no badge',
  'Navigator.clearAppBadge': 'shared/push/push.svelte.ts: exists where setAppBadge does',
  // Only some phones can vibrate, and the client first checks that the function exists.
  'Navigator.vibrate': 'mitra/alarm.svelte.ts asks for it first',
  'Navigator.userActivation': 'mitra/alarm.svelte.ts: without it the phone rings and does not vibrate',
  UserActivation: 'exists where Navigator.userActivation does',
  'Window.print':
    'customer/screens/PaymentPage.svelte asks for it first; without it, no button offers to print',
  // In a browser without wake locks, the app asks the person to keep the screen on.
  'Navigator.wakeLock': 'shared/ui/wakeLock.svelte.ts asks for it first',
  WakeLock: 'exists where Navigator.wakeLock does',
  WakeLockSentinel: 'exists where Navigator.wakeLock does',
};

/**
 * The selectors and properties of our styles that at least one browser of .browserslistrc does not know. Each entry
 * gives the reason why the screens work without the selector or property. A browser drops the whole rule if it does not
 * know one of the rule's selectors, so each of these selectors has its own rule.
 */
export const STYLE_EXCEPTIONS: Readonly<Record<string, string>> = {
  ':focus-visible': 'the browser draws its own outline',
  '::backdrop': 'exists where HTMLDialogElement does',
  '-webkit-tap-highlight-color': 'the browser marks a tap in its own colour',
  'accent-color': 'the browser draws a box in its own colour',
  'align-content: start': 'missing in a flex row only, and used in grids',
  'color-scheme': 'the browser draws scrollbars and boxes in light colours',
  cursor: 'phones have no cursor',
  'font-family: system-ui': 'of uPlot, and followed by other fonts',
  'overflow-wrap: anywhere': 'the body has break-word',
  'overscroll-behavior': 'the page scrolls on at the end of a list',
  resize: 'the person cannot make a text field larger',
  'scroll-behavior': 'the page scrolls at once',
  'text-size-adjust': 'base.css has it with a prefix too',
  'text-wrap': 'the lines of a text are less even',
  'user-select': 'of uPlot: a drag on a chart marks text',
};
