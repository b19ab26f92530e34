/**
 * The sound and the vibration that call for an answer. Notes are made here, no file is fetched.
 *
 * Browsers let a page sound only after somebody has touched it: until then `isAudible` is false, and the screen says so.
 */
const AGAIN_MS = 5_000;
const RING_NOTES_HZ = [784, 988, 1175];
const MESSAGE_NOTES_HZ = [880];
const NOTE_SECONDS = 0.16;
const RING_PATTERN_MS = [250, 120, 250];

let context: AudioContext | undefined;
let audible = $state(false);
let again: ReturnType<typeof setInterval> | undefined;

/** Whether a ring would be heard, as far as the browser lets it. */
export function isAudible(): boolean {
  return audible;
}

/** Listen for the first touch; and any touch while it rings says that somebody has noticed. */
export function startAlarm(): () => void {
  const touched = () => quiet();
  // Not before the touch is over: what was said of the sound goes then, and what is pressed must not move meanwhile.
  const pressed = () => void unlock();
  addEventListener('pointerdown', touched, true);
  addEventListener('keydown', touched, true);
  addEventListener('click', pressed, true);
  return () => {
    removeEventListener('pointerdown', touched, true);
    removeEventListener('keydown', touched, true);
    removeEventListener('click', pressed, true);
    quiet();
  };
}

/** Somebody waits for an answer: ring, and again until somebody notices or `quiet` is called. */
export function ring(): void {
  once();
  clearInterval(again);
  again = setInterval(once, AGAIN_MS);
}

/** Nothing waits any more. */
export function quiet(): void {
  clearInterval(again);
}

/** One ring, to hear whether it is loud enough. */
export async function tryRing(): Promise<void> {
  await unlock();
  once();
}

/** A short note for a message in a chat that is not on the screen. */
export function note(): void {
  play(MESSAGE_NOTES_HZ, 0.12);
}

function once(): void {
  play(RING_NOTES_HZ, 0.3);
  // Some phones have no motor for us, and before the first touch it is refused.
  if ('vibrate' in navigator && navigator.userActivation?.hasBeenActive) navigator.vibrate(RING_PATTERN_MS);
}

async function unlock(): Promise<void> {
  if (context === undefined) {
    const made = (context = new AudioContext());
    made.onstatechange = () => (audible = made.state === 'running');
  }
  // Phones take the sound away for a call, and leave it to us to ask for it again.
  if (context.state !== 'running') await context.resume().catch(() => undefined);
  audible = context.state === 'running';
}

function play(notes: number[], volume: number): void {
  if (context?.state !== 'running') return;
  let at = context.currentTime;
  for (const hertz of notes) {
    const tone = context.createOscillator();
    const loudness = context.createGain();
    tone.frequency.value = hertz;
    // Swells and fades: a tone that is cut off clicks.
    loudness.gain.setValueAtTime(0, at);
    loudness.gain.linearRampToValueAtTime(volume, at + 0.02);
    loudness.gain.exponentialRampToValueAtTime(0.001, at + NOTE_SECONDS * 2);
    tone.connect(loudness).connect(context.destination);
    tone.start(at);
    tone.stop(at + NOTE_SECONDS * 2);
    at += NOTE_SECONDS;
  }
}
