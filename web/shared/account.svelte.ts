/** Remembers on this device whether somebody is signed in: a script cannot read the cookie that decides. */
import { onSignedOut } from './api/client';

export class Account {
  #isSignedIn = $state(false);
  readonly #key: string;

  /** `key`: every key of this client in `localStorage` begins with it. */
  constructor(key: string) {
    this.#key = key;
    this.#isSignedIn = localStorage.getItem(key) !== null;
    onSignedOut(() => this.#forget());
  }

  get isSignedIn(): boolean {
    return this.#isSignedIn;
  }

  /** The server has accepted a code or a password, and has set the cookie. */
  signIn = (): void => {
    localStorage.setItem(this.#key, 'signed in');
    this.#isSignedIn = true;
  };

  /** The next person on this device must not see what this one wrote and read. */
  #forget(): void {
    for (const key of Object.keys(localStorage)) if (key.startsWith(this.#key)) localStorage.removeItem(key);
    sessionStorage.clear();
    this.#isSignedIn = false;
  }
}
