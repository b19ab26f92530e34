import lines from '../help/shippedEn';
import type id from './id';

const en: typeof id = {
  loading: 'Loading…',
  back: 'Back',
  home: 'Home',
  close: 'Close',
  offline: 'No connection. Reconnecting…',
  disconnected: 'Disconnected. Reconnecting…',
  retry: 'Try again',
  notLoaded: 'This page has not loaded yet',
  reload: 'Reload',
  helpCard: {
    open: 'Need help right now?',
    call: (number: string) => `Call ${number}`,
    free: 'free',
    unverified: 'number not checked by us',
    note: 'Curhat is no emergency service. We do not learn that you opened this.',
    lines,
  },
  newVersion: 'There is a new version of Curhat.',
  errors: {
    unreachable: 'No connection. Check your internet, then try again.',
    service_unavailable: 'Our server has not answered yet. Try again in a moment; nothing happens twice.',
    timedOut: 'There is no answer yet. Try again in a moment.',
    too_many_requests: 'Too many tries. Wait a moment, then try again.',
    not_invited: 'This number is not registered as a mitra. Contact the Curhat team.',
    suspended: 'This account is suspended. Contact the Curhat team.',
    missing: 'This could not be loaded. Reload the app, then try again.',
    other: 'Something broke on our side. Try again in a moment.',
  },
  tooManyFor: (seconds: number) =>
    `Too many tries. Wait ${seconds < 90 ? `${seconds} s` : `${Math.ceil(seconds / 60)} minutes`}, then try again.`,
};

export default en;
