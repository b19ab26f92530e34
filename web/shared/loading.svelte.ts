/** What a screen loads. If a load fails, `problem` has a sentence for the person until a later load succeeds. */
import { loadUntilDone } from './retry';
import { errorText } from './words/shared';

export class Loading {
  busy = $state(false);
  problem = $state('');
  readonly #step: () => Promise<void>;
  #stop: () => void = () => undefined;

  /** The function `step` fetches the data, and throws an error if the fetch fails. */
  constructor(step: () => Promise<void>) {
    this.#step = step;
  }

  /**
   * Loads now, and again after each temporary error. Components call `start` in `onMount` or in an `$effect`.
   */
  start = (): (() => void) => {
    this.load();
    return () => this.#stop();
  };

  /** Loads now. Does nothing while a load is running. */
  load = (): void => {
    if (this.busy) return;
    this.#stop();
    this.#stop = loadUntilDone(() => this.#run());
  };

  async #run(): Promise<void> {
    this.busy = true;
    try {
      await this.#step();
      this.problem = '';
    } catch (error) {
      this.problem = errorText(error);
      throw error;
    } finally {
      this.busy = false;
    }
  }
}
