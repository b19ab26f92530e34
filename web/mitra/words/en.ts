import type id from './id';
import { isolated } from '../../shared/words/visibleText';

const en: typeof id = {
  app: 'Curhat Mitra',
  nav: { history: 'History', profile: 'Profile' },
  unreachable: {
    title: 'Not connected yet',
    text: 'This phone cannot reach Curhat yet. We keep trying; as soon as it can, you are back where you were.',
  },
  minutes: (count: number) => (count < 1 ? 'less than a minute' : `${count} minutes`),
  toggle: {
    capacity: (taken: number, most: number) => `${taken} of ${most} chats taken`,
    label: 'Take chats',
    on: 'You are online',
    off: 'You are offline',
    full: 'You are online, and full',
    cutOff: 'Not connected',
    unknown: 'Connecting…',
    onText: 'Requests come to this phone.',
    offText: 'You get no requests. Slide the switch when you are ready to listen.',
    offChatting: 'You get no requests. Chats go on, but more time is rejected automatically.',
    rest: 'Take a break',
    fullText: 'New requests come as soon as one of your chats is over.',
    cutOffText: 'Customers cannot reach you. We keep trying to connect.',
    unknownText: 'One moment, we are connecting this phone.',
  },
  phone: {
    title: 'This phone',
    allowed: 'Notifications are allowed',
    notAllowed: 'Allow notifications to stay within reach',
    without: 'Without notifications: keep this app open',
    soundOff: 'Sound is not on yet',
    turnOn: 'Turn on',
    keepLit: 'This phone may turn its screen off. In its settings, choose the longest screen timeout.',
    wasAway:
      'The connection broke while this app was in the background. Requests did not get through meanwhile.',
  },
  noRequests: {
    title: 'No requests yet',
    text: 'When somebody needs to talk, this phone rings and vibrates.',
  },
  sessionEnded: (name: string) => `The session with ${isolated(name)} is over`,
  today: {
    title: 'Today',
    sessions: (count: number, minutes: number) =>
      `${count} ${count === 1 ? 'session' : 'sessions'} · ${minutes} minutes`,
    none: 'No sessions today yet',
    unknown: 'Cannot be loaded yet',
  },
};

export default en;
