/** Whether the help card is open. The card is above every screen, so it stays open when the screen below changes. */
let isOpen = $state(false);

export function isHelpOpen(): boolean {
  return isOpen;
}

export function openHelp(): void {
  isOpen = true;
}

export function closeHelp(): void {
  isOpen = false;
}
