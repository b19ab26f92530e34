import type id from './id';
import { isolated } from '../../shared/words/visibleText';

const en: typeof id = {
  nav: { history: 'History', profile: 'Profile' },
  unreachable: {
    title: 'Not connected yet',
    text: 'This phone cannot reach Curhat yet. We keep trying; as soon as it can, you are back where you were.',
  },
  home: {
    hello: (name: string) => `Hi, ${isolated(name)}`,
    title: 'Need someone to talk to?',
    text: 'Say whatever is on your mind. A bestie listens, without judging.',
    cta: 'Curhat',
    available: 'A bestie is ready to listen',
    checking: 'One moment, checking…',
    unavailable: 'No bestie available right now',
    anonymous: 'Your bestie sees your call name and nothing else',
    boxed: 'You choose how long, and pay once, up front',
    money: 'No bestie found? Your money is not lost: we review it and tell you',
    pending: 'Your payment is not finished',
    pendingText: 'Finish it before its time is up. No money has been taken yet.',
    pendingGo: 'Continue the payment',
    confirming: 'Waiting for the payment to be confirmed',
    confirmingText: 'We are waiting for the answer. Do not pay again.',
    confirmingGo: 'See the payment',
    searching: 'Looking for a bestie…',
    searchingText: 'As soon as somebody accepts, the chat opens.',
    searchGo: 'See the search',
    choosingText: 'You may choose to chat with another bestie, with the same payment, before the time is up.',
    choosingGo: 'Choose',
    chatting: (name: string) => `Talking with ${isolated(name)}`,
    chattingText: 'Your session is running, and its time goes by.',
    chatGo: 'Back to the chat',
    left: 'Left',
  },
  minutes: (count: number) => `${count} minutes`,
  unavailableMitra: {
    title: 'Your bestie is not online',
    text: (name: string) => `${isolated(name)} cannot make it right now.`,
    other: 'Chat with another bestie',
    close: 'Close',
    paid: (price: string) => `Your payment of ${price} stays good: you do not pay again.`,
    paidFree: 'Your free session stays good.',
    declined: 'If you close this, our team reviews your payment and decides on the refund.',
    left: 'Time left to choose',
    nobody: 'No other bestie is there right now, either.',
    payAgain: 'You can choose a duration and look for another bestie who is ready.',
  },
};

export default en;
