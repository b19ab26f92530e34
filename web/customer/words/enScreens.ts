import type id from './idScreens';
import { isolated } from '../../shared/words/visibleText';

const en: typeof id = {
  payment: {
    title: 'Payment',
    choose: 'How long would you like to talk?',
    withMitra: (name: string) => `Talk with ${isolated(name)} again`,
    free: 'Free',
    trial: 'To try it, once',
    next: 'Continue',
    summary: 'Summary',
    session: (minutes: number) => `A session of ${minutes} minutes`,
    total: 'Total',
    expires: 'Finish within',
    pay: (price: string) => `Pay ${price}`,
    payFree: 'Start my free session',
    note: 'Money is taken only when you press the button. Then we look for a bestie at once.',
    noteFree: 'No money is taken. We look for a bestie right after this.',
    noteAgain: (name: string) =>
      `Money is taken only when you press the button. Then we ask ${isolated(name)} first. If they cannot make it, your payment stays good: you may choose another bestie without paying again, or stop, and our team decides on the refund.`,
    noteAgainFree: (name: string) =>
      `No money is taken. After this we ask ${isolated(name)} first. If they cannot make it, you may choose another bestie with the same free session.`,
    change: 'Choose another duration',
    later: 'You may leave this screen. The payment waits on the home screen until its time is up.',
    paying: 'Processing your payment…',
    confirmingTitle: 'Waiting for the payment to be confirmed',
    confirming:
      'Your payment is on its way and we are waiting for the answer. Do not pay again; this screen moves on by itself.',
    declined: 'The payment was declined. No money was taken. Try again, or choose another duration.',
    presenceUnknown:
      'We cannot tell right now whether a bestie is there. No money was taken. Try again in a moment.',
    nobody: 'No bestie is available right now. No money was taken.',
    nobodyYet: 'No bestie is available right now. No money was taken. You can go on as soon as one is.',
    onlyOthers: (name: string) =>
      `${isolated(name)} is not available right now. If you go on, you can choose another bestie without paying again.`,
    trialUsed: 'Your free session is used up, or was tried three times in 24 hours. Choose another duration.',
    expiredTitle: 'The time to pay is over',
    expired:
      'This payment is closed. No money was taken. If any is taken after all, we return it automatically.',
    again: 'Start again',
  },
  search: {
    title: 'Looking for a bestie…',
    text: 'We are asking besties who are ready.',
    textNobodyAsked: 'We are waiting for a bestie to be ready. As soon as one is, we ask.',
    keepLit: 'Tap now and then, so that the phone does not turn its screen off.',
    keepOpen: 'Keep this screen open.',
    tell: 'Going to another app meanwhile? We can tell you as soon as a bestie is here.',
    tellMe: 'Tell me',
    told: 'You may use another app: as soon as a bestie is here, we tell you.',
    left: 'Time left to search',
    cancel: 'Stop searching',
    waitingText: (name: string) =>
      `We have passed your request to ${isolated(name)}. The answer comes in a moment.`,
    waitingCancel: 'Cancel',
    askTitle: 'Stop searching?',
    askMoney: (price: string) =>
      `You have paid ${price}, and it does not come back by itself. Our team reviews the payment and decides on the refund.`,
    askFree: 'If you stop now, your free session is used up.',
    stay: 'Keep searching',
    stop: 'Yes, stop',
  },
  failure: {
    title: {
      no_mitra_available: 'No bestie could make it',
      all_mitras_rejected: 'Every bestie is busy right now',
      targeted_mitra_offline: 'Your bestie is not online',
      targeted_mitra_rejected: 'Your bestie cannot make it right now',
      targeted_mitra_timeout: 'Your bestie did not answer in time',
      payment_session_expired: 'The time to choose is over',
      customer_cancelled: 'The search was cancelled',
    },
    what: {
      no_mitra_available: 'We searched until the time was up, and nobody accepted. We are sorry.',
      all_mitras_rejected:
        'Every bestie we asked is unable to take a session right now. It is not about you.',
      targeted_mitra_offline: 'They cannot be reached right now, so the session did not start.',
      targeted_mitra_rejected:
        'They cannot take a session right now, so it did not start. It is not about you.',
      targeted_mitra_timeout: 'Your request was not answered in time, so the session did not start.',
      payment_session_expired: 'We waited for you to choose another bestie until the time was up.',
      customer_cancelled: 'You stopped searching before a bestie accepted.',
    },
    moneyTitle: 'Your money',
    see: 'See this payment',
    nowTitle: 'Now',
    now: 'You can try again from the home screen whenever a bestie is ready.',
    home: 'To the home screen',
  },
  waiting: { title: 'Waiting for your bestie...', left: 'Time left to answer' },
  moneyText: {
    free: 'No money was taken.',
    freeFailed: 'No money was taken, and this search did not use up your free session.',
    freeCancelled: 'No money was taken. Your free session is used up.',
    open: 'No money has been taken yet.',
    untaken: 'No money was taken.',
    paid: (price: string) => `${price} is paid. Thank you.`,
    reviewing: (price: string) =>
      `The ${price} you paid is safely on record. Our team reviews this payment and decides on the refund. You need not report anything.`,
    byWhen:
      'When is it decided? As soon as we can; who has waited longest comes first. As soon as there is a decision, you see it here and on the home screen, and by a notification if you allow it.',
    kept: (price: string) => `Our team has reviewed this payment, and decided that ${price} is not refunded.`,
    refunding: (price: string) =>
      `Your money comes back: the refund of the payment of ${price} is under way. You need not do anything.`,
    refused: (price: string) =>
      `The refund of the payment of ${price} has not worked yet. Our team takes care of it; you need not report anything.`,
    partly: (part: string, price: string, when: string) => `We gave back ${part} of ${price} on ${when}.`,
    refunded: (price: string, when: string) => `We gave ${price} back to you on ${when}.`,
  },
  moneyNote: {
    reviewing: (price: string) => `We are reviewing your payment of ${price}`,
    refunding: (price: string) => `Your payment of ${price} is being refunded`,
    refunded: (price: string) => `Your ${price} is back`,
    partly: (price: string) => `Part of your money is back: ${price}`,
    refused: (price: string) => `The refund of ${price} has not worked yet`,
    kept: (price: string) => `Your payment of ${price} has been decided`,
    noSession: 'Your last search found no bestie',
    go: 'See what happened',
    more: (count: number) => `And ${count} more about your payments`,
  },
  payments: {
    title: 'Your payments',
    one: 'Payment',
    receipt: 'Receipt',
    empty: 'No payments yet',
    emptyText: 'All your payments are kept here, also those that came to nothing.',
    purpose: (purpose: 'session' | 'extension', minutes: number) =>
      purpose === 'session' ? `A session of ${minutes} minutes` : `${minutes} minutes more`,
    happened: {
      served: () => 'The session took place',
      searching: (status: string): string =>
        status === 'pending'
          ? 'Not paid yet'
          : status === 'confirming'
            ? 'Waiting for the payment to be confirmed'
            : 'Looking for a bestie',
      no_session: () => 'No bestie was found',
      cut_short: () => 'The session stopped early',
      unanswered: () => 'The bestie did not write in this session',
      expired: () => 'The time to pay was over',
      abandoned: () => 'Called off',
      declined: () => 'The payment was declined',
    },
    states: {
      free: 'Free',
      open: 'Not paid yet',
      paid: 'Paid',
      untaken: 'No money taken',
      reviewing: 'Under review',
      kept: 'Not refunded',
      refunding: 'Being refunded',
      refused: 'Refund delayed',
      partly: 'Partly refunded',
      refunded: 'Refunded',
    },
    reference: 'Payment code',
    opened: 'Opened',
    charged: 'Paid',
    reviewSince: 'Under review since',
    decision: 'Decision',
    decisions: { refund: 'Money given back', no_refund: 'No refund' },
    refund: 'Refund',
    refundStates: { requested: 'under way', done: 'given back', failed: 'not yet done' },
    tell: 'If you contact our team, tell them this payment code.',
    save: 'Save or print the receipt',
    openChat: 'Open the chat',
  },
  extension: {
    ask: 'More time',
    title: 'How much more time?',
    more: (minutes: number) => `+${minutes} minutes`,
    send: (price: string) => `Ask for it, ${price}`,
    note: (name: string) => `${isolated(name)} is asked first. If the answer is no, you pay nothing.`,
    silence: (approves: boolean, seconds: number, price: string) =>
      approves
        ? `No answer within ${seconds} seconds means yes: the time is added and ${price} is paid.`
        : `No answer within ${seconds} seconds means no: no time is added and you pay nothing.`,
    termsChanged: 'The terms have just changed. Read the new ones, then ask again.',
    terms: (minutes: number, price: string) => `${minutes} more minutes, ${price}`,
    silenceApproves: (price: string) =>
      `Without an answer until the time is up, this is approved and ${price} is paid.`,
    silenceRejects: 'Without an answer until the time is up, this is dropped and you pay nothing.',
    charging: 'Approved. Processing the payment…',
    approvedTitle: 'More time',
    approved: (minutes: number, price: string) =>
      `Your session is ${minutes} minutes longer. ${price} is paid.`,
    rejectedTitle: 'No more time',
    rejectedByMitra: 'Your bestie cannot stay longer right now. You pay nothing.',
    rejectedByTimeout: 'Your request was not answered. You pay nothing.',
    rejectedOffline: 'Your bestie is not taking extra time right now. You pay nothing.',
    rejectedUnreachable: 'Your bestie is not connected right now. You pay nothing.',
    rejectedEnded: 'The session is over. You pay nothing.',
    chargeFailed: 'Your bestie agreed, but the payment was declined. No money was taken. You can try again.',
    go: 'Keep talking',
    pending: 'Your last request is still being handled.',
  },
  chat: {
    endTitle: 'End the chat now?',
    endStay: 'Keep talking',
    empty: (name: string) => `You are connected with ${isolated(name)}. Start anywhere, and take your time.`,
    reviewTitle: 'End and ask for a review?',
    reviewText: (name: string) =>
      `${isolated(name)} has been disconnected for more than a minute. If you end now, our team reviews everything you paid for this session and decides whether the money comes back. You need not report anything.`,
    reviewNow: 'End and ask for a review',
    reviewWait: 'Wait a little',
    mitraIsBack: 'Your bestie is back. The session goes on, and nothing has changed.',
    soon: 'The time is nearly up. Keep talking?',
    over: 'The time is up',
  },
  mitraNotice: {
    away: (name: string) => `${isolated(name)} has lost the connection.`,
    kept: 'Your messages are kept, and can be read as soon as your bestie is back.',
    wait: 'If your bestie does not come back, you can end the session and have your payment reviewed in',
    end: 'End and ask for a review',
    back: (name: string) => `${isolated(name)} is back.`,
  },
  review: {
    unanswered:
      'Your bestie did not answer a single message. We are sorry. Our team reviews everything you paid for this session; you need not report anything.',
    mitra_away:
      'You ended the session because your bestie was disconnected. Our team reviews everything you paid for this session; you need not report anything.',
  },
  after: {
    thanks: 'Thank you for sharing',
    sorry: 'Sorry, this session did not go well',
    next: 'We hope you feel a little lighter. Whenever you need it, a bestie is ready to listen again.',
    deleteChat: 'Delete this chat',
    textGone:
      'What was written here is deleted. The chat stays in your history, and you can talk again at any time.',
  },
  ended: {
    time_up: 'The time was up. Thank you for sharing.',
    customer_ended: 'You ended this session.',
    mitra_ended:
      'Your bestie ended the session early. Our team reviews your payment; you need not report anything.',
    mitra_suspended: 'We stopped this session. Our team reviews your payment; you need not report anything.',
    again: 'Talk again',
  },
  history: {
    title: 'History',
    empty: 'Nothing here yet',
    emptyText:
      'All your chats are kept here. No other bestie can read them; our team opens one only when a problem has to be looked into.',
    running: 'Running now',
    open: (name: string, time: string) => `Read the chat with ${isolated(name)}, ${time}`,
    again: 'Talk again',
    againWith: (name: string) => `Talk with ${isolated(name)} again`,
    more: 'Load more',
  },
  push: {
    title: 'Notifications',
    on: 'While the app is closed, we tell you when a bestie is here or replies, and when there is news about your search or your money. What is said in the chat is not shown.',
    off: 'While the app is closed, we can tell you when a bestie is here or replies, and when there is news about your search or your money.',
    blocked: 'They are blocked on this phone. Open the site settings of the browser, and allow them.',
    impossible: 'This browser cannot receive notifications.',
    failed: 'Notifications are not set up yet. Check your internet, then try again.',
  },
  profile: {
    title: 'Profile',
    callName: 'Call name',
    callNameHint: 'Your bestie sees this name and nothing else.',
    save: 'Save',
    saved: 'Your call name is saved',
    phone: 'Phone number',
    signOutTitle: 'Sign out of Curhat?',
    signOutText: 'Your history stays. Messages that this phone has not sent yet are lost.',
  },
};

export default en;
