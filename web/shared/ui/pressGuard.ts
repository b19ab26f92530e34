/**
 * Ignores a press on a button that has just appeared, moved or changed under the finger.
 *
 * A person who taps twice, or who taps while the screen changes, presses a button that they have not read: the second
 * tap on "Berhenti mencari" would confirm the question that the first tap opened. So a button takes no press before it
 * has been in its place for SETTLED_MS. A series of taps in one place counts as one tap: it presses only the button
 * that its first tap pressed.
 *
 * The guard ignores only fingers and pointers. A key and a screen reader press at once, because their focus does not move
 * to another button when the screen changes. Most screen readers imitate a pointer: see `isVirtual`.
 */

/** Longer than the pause between the taps of a doubled tap, and than the time in which a person reacts to a change. */
const SETTLED_MS = 500;
/** A smaller movement is the effect of the press itself (`:active`), or of a rounded position. */
const MOVED_PX = 4;
/** Two taps within this distance were meant for the same place. */
const SAME_PLACE_PX = 40;
/** A scroll that begins within this time after the person has moved the page was caused by the person. */
const SCROLL_GAP_MS = 200;
/** With this pause between two events, a scroll is over. */
const SCROLL_END_MS = 100;
/** A dialog is a control too, because a press beside its box closes it. In an old browser, `.shade` is the place beside it. */
const CONTROLS =
  'a[href], button, dialog, .shade, label, summary, input[type="checkbox"], input[type="radio"]';
/** With an open dialog, all other controls take no press. So they appear anew when the dialog closes. */
const IN_FRONT = 'dialog[open], .shade';
/** A button with another value of one of these attributes does something else. */
const MEANING = ['aria-busy', 'aria-checked'];

interface Seen {
  /** Since when the control has had this place and this meaning, on the clock of `performance.now()`. */
  since: number;
  x: number;
  y: number;
  meaning: string;
}

interface Press {
  at: number;
  x: number;
  y: number;
  control: Element | undefined;
  content: string;
}

/** Starts the guard. Call it before anything else listens for clicks. */
export function startPressGuard(): void {
  let seen = new Map<Element, Seen>();
  let isOutdated = true;
  let isScheduled = false;
  /** The areas that the person has scrolled since the controls were seen last. */
  let scrolled: Node[] = [];
  /** When the person last moved the page, or the page still moved because of that. */
  let scrolledAt = -Infinity;
  let scrollTimer: ReturnType<typeof setTimeout> | undefined;
  /** The first press of a series in one place. `at` is the time of the last press of the series. */
  let series: Press | undefined;
  let pressed: Press | undefined;
  let isIgnored = false;

  function seeControls(): void {
    if (!isOutdated) return;
    isOutdated = false;
    const now = performance.now();
    const root = document.querySelector(IN_FRONT) ? IN_FRONT : ':root';
    const controls = [...document.querySelectorAll(CONTROLS)].filter((one) => one.closest(root) !== null);
    seen = new Map(
      controls.map((control) => {
        const { left: x, top: y } = control.getBoundingClientRect();
        const meaning = meaningOf(control);
        const before = seen.get(control);
        const isSame =
          before?.meaning === meaning &&
          (scrolled.some((area) => area.contains(control)) ||
            (Math.abs(before.x - x) <= MOVED_PX && Math.abs(before.y - y) <= MOVED_PX));
        return [control, { since: isSame ? before.since : now, x, y, meaning }];
      }),
    );
    scrolled = [];
  }

  function markOutdated(): void {
    isOutdated = true;
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(() => {
      isScheduled = false;
      seeControls();
    });
  }

  function isSettled({ control, at }: Press): boolean {
    seeControls();
    return control === undefined || at - (seen.get(control)?.since ?? -Infinity) >= SETTLED_MS;
  }

  new MutationObserver(markOutdated).observe(document, {
    subtree: true,
    childList: true,
    characterData: true,
    attributes: true,
  });
  addEventListener('resize', markOutdated);
  for (const type of ['wheel', 'touchmove', 'keydown'])
    addEventListener(type, () => (scrolledAt = performance.now()), { capture: true, passive: true });
  addEventListener(
    'scroll',
    ({ target }) => {
      isOutdated = true;
      // A page that scrolls by itself moves a button under the finger. A fling goes on without the finger.
      if (performance.now() - scrolledAt < SCROLL_GAP_MS) {
        scrolledAt = performance.now();
        if (!scrolled.includes(target as Node)) scrolled.push(target as Node);
      }
      // A look in each frame would make a long chat scroll in jerks. A press and a change of the page look at once.
      clearTimeout(scrollTimer);
      scrollTimer = setTimeout(seeControls, SCROLL_END_MS);
    },
    true,
  );
  markOutdated();

  addEventListener(
    'pointerdown',
    (event) => {
      pressed = pressOf(event);
      if (isVirtual(event)) {
        isIgnored = false;
        series = undefined;
      } else if (series && pressed.at - series.at < SETTLED_MS && isSamePlace(series, pressed)) {
        series.at = pressed.at;
        isIgnored =
          series.control !== pressed.control || series.content !== pressed.content || !isSettled(pressed);
      } else {
        isIgnored = !isSettled(pressed);
        series = isIgnored ? undefined : pressed;
      }
    },
    true,
  );
  // The finger scrolled.
  addEventListener('pointercancel', () => (series = undefined), true);
  addEventListener(
    'click',
    (event) => {
      // A key makes a click without a press. So does a screen reader in Firefox, and then no kind of pointer is named.
      if (event.detail === 0 || (event.isTrusted && (event as PointerEvent).pointerType === '')) return;
      const clicked = pressOf(event);
      // The control may have moved away between the press and the click.
      if (clicked.control === pressed?.control ? !isIgnored : isSettled(clicked)) return;
      event.preventDefault();
      event.stopPropagation();
    },
    true,
  );
}

function pressOf({ target, clientX, clientY, timeStamp }: MouseEvent): Press {
  const control = (target as Element).closest(CONTROLS) ?? undefined;
  const content = control ? meaningOf(control) + control.textContent : '';
  return { at: timeStamp, x: clientX, y: clientY, control, content };
}

/**
 * Whether a screen reader imitates this pointer. TalkBack imitates a mouse without pressure, and other screen readers a
 * pointer without size. On Android, the pointer of a real finger may have no size.
 */
function isVirtual({ pointerType, width, height, pressure }: PointerEvent): boolean {
  return /Android/.test(navigator.userAgent)
    ? pointerType === 'mouse' && width === 1 && height === 1 && pressure === 0
    : width === 0 && height === 0;
}

function meaningOf(control: Element): string {
  return MEANING.map((name) => control.getAttribute(name)).join();
}

function isSamePlace(one: Press, other: Press): boolean {
  return Math.hypot(one.x - other.x, one.y - other.y) < SAME_PLACE_PX;
}
