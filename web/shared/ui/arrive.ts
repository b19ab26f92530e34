/**
 * Put on a screen's heading (`use:arrive`): who hears the screen, or uses a keyboard, begins there. Not on the first
 * screen, where they begin at the page itself.
 */
let hasArrived = false;

export function arrive(heading: HTMLElement): void {
  if (hasArrived) {
    scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }
  hasArrived = true;
}
