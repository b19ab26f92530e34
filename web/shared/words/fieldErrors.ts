import { Refused } from '../api/client';
import { shared } from './shared';

interface FieldError {
  field?: unknown;
  code?: string;
}

/** Returns the faults of the fields that the server refused. If the error is not about fields, returns no faults. */
export function fieldErrors(error: unknown): FieldError[] {
  const errors = error instanceof Refused ? error.problem.errors : undefined;
  return Array.isArray(errors) ? (errors as FieldError[]) : [];
}

/** Returns the sentence for the field that the server refused. If the fault has no sentence, returns `other`. */
export function fieldText(error: unknown, other: string): string {
  const words: Record<string, string> = shared().problems;
  return words[fieldErrors(error)[0]?.code ?? ''] ?? other;
}
