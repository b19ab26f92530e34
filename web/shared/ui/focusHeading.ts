let isFirstScreen = true;

/**
 * An action for a screen's heading: moves the focus to it when the screen is shown. So a person with a screen reader or
 * a keyboard starts there. The first screen leaves the focus where the browser put it, at the top of the page.
 */
export function focusHeading(heading: HTMLElement): void {
  if (!isFirstScreen) {
    scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }
  isFirstScreen = false;
}
