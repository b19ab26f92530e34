/**
 * How a browser without `<dialog>` shows a dialog. Such a browser fetches this code at its start, so that a dialog opens
 * without a request, and other browsers do not load the code.
 */
export const oldDialog: { show?: (dialog: HTMLElement) => () => void } = {};

/** Fetches the code if this browser has no dialogs. */
export async function prepareDialogs(): Promise<void> {
  if ('HTMLDialogElement' in window) return;
  oldDialog.show = (await import('./oldDialog')).showOldDialog;
}
