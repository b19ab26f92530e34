import type id from './idScreens';
import { isolated } from '../../shared/words/visibleText';

const en: typeof id = {
  welcome: {
    title: 'Hello, bestie',
    text: 'Sign in with the phone number that the Curhat team registered.',
    demoName: (name: string) => `Kak ${name}`,
  },
  suspended: {
    title: 'Your account is suspended',
    text: 'For now you cannot take any chats. We have stopped those that were running. Ask the Curhat team why.',
  },
  extension: {
    title: (name: string) => `${isolated(name)} asks for more time`,
    more: (minutes: number) => `+${minutes} minutes`,
    silenceApproves: 'Silence = approved',
    silenceRejects: 'Silence = rejected',
    approvesText: 'If you do not answer, the time is added.',
    rejectsText: 'If you do not answer, no time is added.',
    left: 'Time left to answer',
    accept: 'Approve',
    reject: 'Reject',
    about: (name: string) => `more time for ${isolated(name)}`,
    arrived: (name: string, minutes: number) => `${isolated(name)} asks for ${minutes} more minutes.`,
    charging: 'Approved. Waiting for the payment…',
    approved: (minutes: number) => `${minutes} minutes added`,
    approvedBySilence: (minutes: number) => `No answer, so ${minutes} minutes were added`,
    rejectedByYou: 'You rejected it. No time added',
    rejectedBySilence: 'No answer, so no time was added',
    rejectedUnreachable: 'Rejected automatically: you are offline or not connected',
    rejectedEnded: 'Dropped: the session is over',
    chargeFailed: 'The payment failed. No time added',
    tooLate: 'Decided before your answer got through',
  },
  chat: {
    empty: (name: string) => `You are connected with ${isolated(name)}. Say hello, then let them talk.`,
    soon: 'Time is almost up. Gently bring the talk to a close.',
    over: 'Time is up',
    hold: 'More time is being decided',
  },
  end: {
    title: 'End the session early?',
    text: (name: string) =>
      `Our team looks at every session that you end early. Only our team reads your reason, not ${isolated(name)}.`,
    why: 'Why do you end it?',
    reasons: {
      mine: 'Something urgent came up for me',
      technical: 'My network or phone has trouble',
      help: 'They need more help than a talk',
      manners: 'Rude or improper language',
      other: 'Another reason',
    },
    detail: 'Tell us a little',
    detailOptional: 'Anything else (may stay empty)',
    choose: 'Choose a reason first.',
    describe: 'Write the reason first.',
    tooLong: 'Too long: 400 characters at most.',
    now: 'End the session',
    stay: 'Back to the chat',
  },
  ended: {
    time_up: 'The time is up. Thank you for listening.',
    customer_ended: 'The customer ended this session.',
    mitra_ended: 'You ended this session early. Our team looks at it.',
    mitra_suspended: 'We stopped this session because your account was suspended.',
  },
  history: {
    title: 'History',
    empty: 'No history yet',
    emptyText: 'All your sessions are kept here, with their messages.',
    running: 'Running now',
    open: (name: string, time: string) => `Read the session with ${isolated(name)}, ${time}`,
    more: 'Load more',
    early: 'You ended it early',
    stopped: 'Stopped',
  },
  profile: {
    title: 'Profile',
    name: 'The name that customers see',
    nameHint: 'To change it, ask the Curhat team.',
    capacity: 'Most chats at once',
    signOutTitle: 'Sign out of Curhat Mitra?',
    signOutText: 'This phone gets no more requests. Messages that it has not sent yet are lost.',
    signOutChatting: 'Chats are still running. Customers will wait for your answer.',
  },
};

export default en;
