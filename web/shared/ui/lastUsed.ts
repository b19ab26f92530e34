/** The element that the person used last. The module keepFocus.ts sets this value. */
export const last: { used: Element | null } = { used: null };

/** Returns the element that the person used last. In Safari, a button that was tapped does not have the focus. */
export function lastUsed(): Element | null {
  return nothingHasFocus() ? last.used : document.activeElement;
}

/** Whether the focus is at the top of the page. */
export function nothingHasFocus(): boolean {
  return document.activeElement === null || document.activeElement === document.body;
}
