/** Alerts as notifications of the browser, for an operator who has switched them on for this device. */
import type { Schemas } from '../shared/api/client';
import { deviceStorage } from '../shared/storage';

const KEY = 'control-center.alerts';
/** The figures that alert when they rise. */
const FIGURES = [
  'refunds_awaiting_approval',
  'refunds_refused',
  'gateway_unanswered',
  'gateway_alerts',
  'deadlines_parked',
  'deadlines_overdue',
  'cases_overdue',
  'reports_overdue',
] as const satisfies readonly (keyof Schemas['Dashboard'])[];

export type AlertFigure = (typeof FIGURES)[number];

let isOn = $state(deviceStorage.get(KEY) === 'on');

export const alerts = {
  /** Whether this browser can show notifications while the page is open. */
  get isPossible(): boolean {
    return 'Notification' in globalThis;
  },
  get isOn(): boolean {
    return isOn && this.isPossible && Notification.permission === 'granted';
  },
  /** Asks for the permission if it is missing. Returns whether the alerts are on now. */
  async switchOn(): Promise<boolean> {
    if (!this.isPossible) return false;
    const permission =
      Notification.permission === 'default'
        ? await Notification.requestPermission()
        : Notification.permission;
    isOn = permission === 'granted';
    if (isOn) deviceStorage.set(KEY, 'on');
    return isOn;
  },
  switchOff(): void {
    isOn = false;
    deviceStorage.remove(KEY);
  },
};

/** Returns the figures that have risen since `before`. Before the first answer, no figure has risen. */
export function risen(before: Schemas['Dashboard'] | null, now: Schemas['Dashboard']): AlertFigure[] {
  return before === null ? [] : FIGURES.filter((name) => now[name] > before[name]);
}
