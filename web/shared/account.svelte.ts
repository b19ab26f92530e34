/** Remembers on this device whether somebody is signed in, because a script cannot read the session cookie. */
import { onSignedOut } from './api/client';
import { deviceStorage, tabStorage } from './storage';

export class Account {
  #isSignedIn = $state(false);
  readonly #key: string;

  /** `key`: the prefix of every key of this client in `localStorage`. */
  constructor(key: string) {
    this.#key = key;
    // A browser that stores nothing can still have the cookie, so assume that somebody is signed in. The server's first
    // answer shows whether somebody is signed in.
    this.#isSignedIn = deviceStorage.get(key) !== null || !deviceStorage.canKeep();
    onSignedOut(() => this.#forget());
  }

  get isSignedIn(): boolean {
    return this.#isSignedIn;
  }

  /** Callers use this method after the server has accepted a code or a password and has set the cookie. */
  signIn = (): void => {
    deviceStorage.set(this.#key, 'signed in');
    this.#isSignedIn = true;
  };

  /** Removes this person's data, because the next person on this device must not see it. */
  #forget(): void {
    for (const key of deviceStorage.keys(this.#key)) deviceStorage.remove(key);
    for (const key of tabStorage.keys('')) tabStorage.remove(key);
    this.#isSignedIn = false;
  }
}
