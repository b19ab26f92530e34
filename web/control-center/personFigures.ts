/** The figures about one person's safety, as rows of a table or of a list of facts (T.1 to T.6). */
import type { Schemas } from '../shared/api/client';
import type { Language } from '../shared/words/language.svelte';
import { formatNumber } from './format';
import { words } from './words/words';

type Person = Pick<Schemas['CustomerDetail'], 'reports' | 'blocks' | 'ratings'>;

/** Returns the name and the value of each figure. Before the person is known, each value is a dash. */
export function personFigures(person: Person | null, language: Language): [name: string, value: string][] {
  const text = words().reports.person;
  const count = (value: number | undefined) => (value === undefined ? '–' : formatNumber(value, language));
  const ratings = person?.ratings;
  return [
    [text.about, count(person?.reports.about)],
    [text.sanctions, count(person?.reports.sanctions)],
    [text.made, count(person?.reports.made)],
    [text.concerns, count(person?.reports.concerns)],
    [text.blocked, count(person?.blocks.about)],
    [text.blocks, count(person?.blocks.made)],
    [
      text.ratings,
      [ratings?.helpful, ratings?.neutral, ratings?.uncomfortable].map((value) => count(value)).join(' / '),
    ],
  ];
}
