/** Remembers on this device whether somebody is signed in, because a script cannot read the session cookie. */
import { onSignedOut } from './api/client';

export class Account {
  #isSignedIn = $state(false);
  readonly #key: string;

  /** `key`: the prefix of every key of this client in `localStorage`. */
  constructor(key: string) {
    this.#key = key;
    this.#isSignedIn = localStorage.getItem(key) !== null;
    onSignedOut(() => this.#forget());
  }

  get isSignedIn(): boolean {
    return this.#isSignedIn;
  }

  /** Call this method after the server has accepted a code or a password, and has set the cookie. */
  signIn = (): void => {
    localStorage.setItem(this.#key, 'signed in');
    this.#isSignedIn = true;
  };

  /** Removes this person's data, because the next person on this device must not see it. */
  #forget(): void {
    for (const key of Object.keys(localStorage)) if (key.startsWith(this.#key)) localStorage.removeItem(key);
    sessionStorage.clear();
    this.#isSignedIn = false;
  }
}
