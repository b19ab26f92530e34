/**
 * Plays the sound and the vibration that announce a card. The browser generates the tones, so there is no file to
 * fetch.
 *
 * A browser plays no sound before the person has touched the page. Before the first touch, `isAudible` returns false,
 * and the screen asks the person for a touch.
 */
const RING_INTERVAL_MS = 5_000;
const RING_NOTES_HZ = [784, 988, 1175];
const MESSAGE_NOTES_HZ = [880];
const NOTE_SECONDS = 0.16;
const RING_PATTERN_MS = [250, 120, 250];

let context: AudioContext | undefined;
let audible = $state(false);
let ringTimer: ReturnType<typeof setInterval> | undefined;

/** Returns whether the browser would play the sound. */
export function isAudible(): boolean {
  return audible;
}

/**
 * Allows the sound at the first touch, and stops the ringing at every touch. Callers must call `startAlarm` inside an
 * `$effect`.
 */
export function startAlarm(): () => void {
  const touched = () => stopRinging();
  // The notice about the sound disappears at the click and not at the touch. If the notice disappeared at the touch,
  // the page would move between the touch and the click.
  const pressed = () => void unlockSound();
  addEventListener('pointerdown', touched, true);
  addEventListener('keydown', touched, true);
  addEventListener('click', pressed, true);
  return () => {
    removeEventListener('pointerdown', touched, true);
    removeEventListener('keydown', touched, true);
    removeEventListener('click', pressed, true);
    stopRinging();
  };
}

/** Rings now and every 5 s, until the mitra touches the page or `stopRinging` is called. */
export function ring(): void {
  ringOnce();
  clearInterval(ringTimer);
  ringTimer = setInterval(ringOnce, RING_INTERVAL_MS);
}

export function stopRinging(): void {
  clearInterval(ringTimer);
}

/** Rings one time, so that the mitra can test the volume. */
export async function testRing(): Promise<void> {
  await unlockSound();
  ringOnce();
}

/** Plays a short tone for a message in a chat that is not on the screen. */
export function playNote(): void {
  playNotes(MESSAGE_NOTES_HZ, 0.12);
}

function ringOnce(): void {
  playNotes(RING_NOTES_HZ, 0.3);
  // Some browsers cannot vibrate. All browsers refuse to vibrate before the first touch.
  if ('vibrate' in navigator && navigator.userActivation?.hasBeenActive) navigator.vibrate(RING_PATTERN_MS);
}

async function unlockSound(): Promise<void> {
  if (context === undefined) {
    const made = (context = new AudioContext());
    made.onstatechange = () => (audible = made.state === 'running');
  }
  // A phone call suspends the sound. After the phone call, the page must resume the sound.
  if (context.state !== 'running') await context.resume().catch(() => undefined);
  audible = context.state === 'running';
}

function playNotes(notes: number[], volume: number): void {
  if (context?.state !== 'running') return;
  let at = context.currentTime;
  for (const hertz of notes) {
    const tone = context.createOscillator();
    const loudness = context.createGain();
    tone.frequency.value = hertz;
    // The volume rises and falls gradually, because a tone that starts or stops suddenly makes a click.
    loudness.gain.setValueAtTime(0, at);
    loudness.gain.linearRampToValueAtTime(volume, at + 0.02);
    loudness.gain.exponentialRampToValueAtTime(0.001, at + NOTE_SECONDS * 2);
    tone.connect(loudness).connect(context.destination);
    tone.start(at);
    tone.stop(at + NOTE_SECONDS * 2);
    at += NOTE_SECONDS;
  }
}
