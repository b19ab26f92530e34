/**
 * One step of a form or a dialog. The step cannot run twice at the same time. If the step fails, `problem` has a
 * sentence for the person.
 */
import { errorText } from './words/shared';

export class Attempt {
  /** Whether the step is running. While the step is running, a further press of the button does nothing. */
  busy = $state(false);
  /**
   * A sentence that tells the person why the last step failed, or an empty text while a step runs and after a success.
   */
  problem = $state('');

  readonly #explain: (error: unknown) => string;

  /** The function `explain` returns the sentence for an error that a step throws. */
  constructor(explain: (error: unknown) => string = errorText) {
    this.#explain = explain;
  }

  /** Runs `step`. Does nothing if a step is already running. */
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
