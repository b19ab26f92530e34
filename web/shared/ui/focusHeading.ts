let isFirstScreen = true;

/**
 * A Svelte action for a screen's heading. When the screen appears, the action moves the focus to the heading. A person
 * with a screen reader or a keyboard therefore starts at the heading. The first screen leaves the focus at the top of
 * the page.
 */
export function focusHeading(heading: HTMLElement): void {
  if (!isFirstScreen) {
    scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }
  isFirstScreen = false;
}
