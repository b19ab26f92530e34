/**
 * Ignores a press on a button that has just appeared, moved or changed under the finger.
 *
 * A person who taps twice, or who taps while the screen changes, presses a button that they have not read: the second
 * tap on "Berhenti mencari" would confirm the question that the first tap opened. So a button takes no press before it
 * has been in its place for SETTLED_MS. A series of taps in one place counts as one tap: it presses only the button
 * that its first tap pressed.
 *
 * The guard ignores only fingers and pointers. A key and assistive technology press at once, because their focus does
 * not move to another button when the screen changes.
 */

/** Longer than the pause between the taps of a doubled tap, and than the time in which a person reacts to a change. */
const SETTLED_MS = 500;
/** A smaller movement is the effect of the press itself (`:active`), or of a rounded position. */
const MOVED_PX = 4;
/** Two taps within this distance were meant for the same place. */
const SAME_PLACE_PX = 40;
/** A dialog is a control too, because a press beside its box closes it. */
const CONTROLS = 'a[href], button, dialog, label, summary';
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
  /** The first press of a series in one place. `at` is the time of the last press of the series. */
  let series: Press | undefined;
  let pressed: Press | undefined;
  let isIgnored = false;

  function seeControls(): void {
    if (!isOutdated) return;
    isOutdated = false;
    const now = performance.now();
    // The controls under a dialog take no press, so they appear anew when the dialog closes.
    const root = document.querySelector('dialog[open]') ? 'dialog[open]' : ':root';
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
  addEventListener(
    'scroll',
    ({ target }) => {
      // The next press or change looks again. A look in each frame would make a long chat scroll in jerks.
      if (!scrolled.includes(target as Node)) scrolled.push(target as Node);
      isOutdated = true;
    },
    true,
  );
  markOutdated();

  addEventListener(
    'pointerdown',
    (event) => {
      pressed = pressOf(event);
      if (series && pressed.at - series.at < SETTLED_MS && isSamePlace(series, pressed)) {
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
      // A key and assistive technology make a click without a press.
      if (event.detail === 0) return;
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

function meaningOf(control: Element): string {
  return MEANING.map((name) => control.getAttribute(name)).join();
}

function isSamePlace(one: Press, other: Press): boolean {
  return Math.hypot(one.x - other.x, one.y - other.y) < SAME_PLACE_PX;
}
