/**
 * Ignores a press on a button that has just appeared, moved or changed.
 *
 * A person who taps twice, or taps while the screen changes, can press a button that they have not read. For example,
 * the first tap on "Berhenti mencari" opens a question. The second tap would confirm this question. Therefore a button
 * accepts a press only after it has been in its place for SETTLED_MS. A series of taps in one place counts as one tap.
 * The later taps of a series can press only the button that the first tap pressed.
 *
 * The guard ignores only presses of fingers and pointers. A press by a key or a screen reader always counts, because
 * the focus does not move to another button when the screen changes. Most screen readers imitate a pointer: see
 * `isVirtual`.
 */

/**
 * SETTLED_MS is longer than the pause in a double tap, and longer than the time in which a person reacts to a change.
 */
const SETTLED_MS = 500;
/** The press itself (`:active`) or a rounded position can move a control by at most MOVED_PX. */
const MOVED_PX = 4;
/** The guard treats two taps within this distance as taps in one place. */
const SAME_PLACE_PX = 40;
/** If a scroll begins within SCROLL_GAP_MS after the person has moved the page, the person caused the scroll. */
const SCROLL_GAP_MS = 200;
/** A scroll is over when no scroll event has come for SCROLL_END_MS. */
const SCROLL_END_MS = 100;
/**
 * A dialog is a control too, because a press beside its box closes it. In an old browser, `.shade` is the area beside
 * the dialog's box.
 */
const CONTROLS =
  'a[href], button, dialog, .shade, label, summary, input[type="checkbox"], input[type="radio"]';
/**
 * While a dialog is open, the controls outside the dialog accept no press. When the dialog closes, the controls outside
 * the dialog count as new.
 */
const IN_FRONT = 'dialog[open], .shade';
/** When an attribute of MEANING changes, a press of the button has a different effect. */
const MEANING = ['aria-busy', 'aria-checked'];

interface Seen {
  /** The time (`performance.now()`) at which the control got its present place and meaning. */
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

/** Starts the guard. Call `startPressGuard` before other code listens for clicks. */
export function startPressGuard(): void {
  let seen = new Map<Element, Seen>();
  let isOutdated = true;
  let isScheduled = false;
  /** The areas that the person has scrolled since the guard last recorded the controls. */
  let scrolled: Node[] = [];
  /** The last time at which the page moved because the person scrolled it. */
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
      // A page that scrolls by itself moves a button under the finger. A fling continues after the finger has left the
      // screen.
      if (performance.now() - scrolledAt < SCROLL_GAP_MS) {
        scrolledAt = performance.now();
        if (!scrolled.includes(target as Node)) scrolled.push(target as Node);
      }
      // If the guard recorded the controls in each frame, a long chat would scroll in jerks. The guard also records the
      // controls at each press and at each change of the page.
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
      // A click by a key has no press before it. A click by a screen reader in Firefox also has no press, and its
      // `pointerType` is empty.
      if (event.detail === 0 || (event.isTrusted && (event as PointerEvent).pointerType === '')) return;
      const clicked = pressOf(event);
      // The control possibly moved away between the press and the click.
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
 * Whether a screen reader imitates this pointer. TalkBack imitates a mouse without pressure. Other screen readers
 * imitate a pointer without size. On Android, the pointer of a real finger can have no size.
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
