/** One step of a form or a dialog: it runs once at a time, and a failure becomes a sentence. */
import { errorText } from './words/shared';

export class Attempt {
  /** The step runs. Another press meanwhile does nothing. */
  busy = $state(false);
  /** Why the last step failed, in a sentence for the person; empty while it runs and after it has worked. */
  problem = $state('');

  readonly #explain: (error: unknown) => string;

  /** `explain` gives the sentence for what a step throws. */
  constructor(explain: (error: unknown) => string = errorText) {
    this.#explain = explain;
  }

  /** Runs `step`, unless one runs already. */
  async run(step: () => Promise<void>): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.problem = '';
    try {
      await step();
    } catch (error) {
      this.problem = this.#explain(error);
    } finally {
      this.busy = false;
    }
  }
}
