import { Refused } from '../api/client';
import { shared } from './shared';

interface FieldError {
  field?: unknown;
  code?: string;
}

/** Returns the faults of the fields that the server refused. Returns no faults if the error is not about fields. */
export function fieldErrors(error: unknown): FieldError[] {
  const errors = error instanceof Refused ? error.problem.errors : undefined;
  return Array.isArray(errors) ? (errors as FieldError[]) : [];
}

/** Returns the sentence for the field that the server refused. Returns `other` if the fault has no sentence. */
export function fieldText(error: unknown, other: string): string {
  const words: Record<string, string> = shared().problems;
  return words[fieldErrors(error)[0]?.code ?? ''] ?? other;
}
