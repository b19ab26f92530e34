/** The help lines as the editor of the Control Center shows them, and the differences between two versions. */
import type { Schemas } from '../shared/api/client';

type HelpLine = Schemas['HelpLine'];
type Channel = Schemas['HelpChannel'];

/** The fields of one line in the editor. An empty text means that nothing is known. */
export interface Draft {
  id: string;
  kind: HelpLine['kind'];
  name: string;
  provider: string;
  whatForId: string;
  whatForEn: string;
  /** The numbers or addresses of each kind, separated by semicolons. */
  call: string;
  whatsapp: string;
  web: string;
  hoursId: string;
  hoursEn: string;
  regionId: string;
  regionEn: string;
  language: string;
  isFree: '' | 'yes' | 'no';
  noteId: string;
  noteEn: string;
  verifiedAt: string | null;
  source: string;
}

export type Field =
  | 'name'
  | 'provider'
  | 'whatFor'
  | 'channels'
  | 'hours'
  | 'region'
  | 'language'
  | 'isFree'
  | 'note'
  | 'verifiedAt'
  | 'source';

/** What happened to one line between two versions. */
export interface Difference {
  id: string;
  name: string;
  what: 'added' | 'removed' | 'changed';
  fields: { field: Field; before: string; after: string }[];
}

const KINDS = ['call', 'whatsapp', 'web'] as const;

export function toDraft(line: HelpLine): Draft {
  const values = (kind: Channel['kind']) =>
    line.channels
      .filter((channel) => channel.kind === kind)
      .map((channel) => channel.value)
      .join('; ');
  return {
    id: line.id,
    kind: line.kind,
    name: line.name,
    provider: line.provider,
    whatForId: line.what_for.id,
    whatForEn: line.what_for.en,
    call: values('call'),
    whatsapp: values('whatsapp'),
    web: values('web'),
    hoursId: line.hours?.id ?? '',
    hoursEn: line.hours?.en ?? '',
    regionId: line.region.id,
    regionEn: line.region.en,
    language: line.language,
    isFree: line.is_free === null ? '' : line.is_free ? 'yes' : 'no',
    noteId: line.note?.id ?? '',
    noteEn: line.note?.en ?? '',
    verifiedAt: line.verified_at,
    source: line.source,
  };
}

/** Returns an empty line with an id that `others` do not have. */
export function emptyDraft(others: Draft[]): Draft {
  let number = others.length + 1;
  while (others.some((draft) => draft.id === `line-${number}`)) number += 1;
  return toDraft({
    id: `line-${number}`,
    kind: 'line',
    name: '',
    provider: '',
    what_for: { id: '', en: '' },
    channels: [],
    hours: null,
    region: { id: '', en: '' },
    language: 'id',
    is_free: null,
    note: null,
    verified_at: null,
    source: '',
  });
}

export function fromDraft(draft: Draft): HelpLine {
  const both = (id: string, en: string) => (id.trim() || en.trim() ? { id: id.trim(), en: en.trim() } : null);
  return {
    id: draft.id,
    kind: draft.kind,
    name: draft.name.trim(),
    provider: draft.provider.trim(),
    what_for: { id: draft.whatForId.trim(), en: draft.whatForEn.trim() },
    channels: KINDS.flatMap((kind) =>
      draft[kind]
        .split(';')
        .map((value) => value.trim())
        .filter((value) => value !== '')
        .map((value) => ({ kind, value })),
    ),
    hours: both(draft.hoursId, draft.hoursEn),
    region: { id: draft.regionId.trim(), en: draft.regionEn.trim() },
    language: draft.language,
    is_free: draft.isFree === '' ? null : draft.isFree === 'yes',
    note: both(draft.noteId, draft.noteEn),
    verified_at: draft.verifiedAt,
    source: draft.source.trim(),
  };
}

function textsOf(line: HelpLine): Record<Field, string> {
  const both = (texts: { id: string; en: string } | null) =>
    texts === null ? '' : `${texts.id} / ${texts.en}`;
  return {
    name: line.name,
    provider: line.provider,
    whatFor: both(line.what_for),
    channels: line.channels.map((channel) => channel.value).join('; '),
    hours: both(line.hours),
    region: both(line.region),
    language: line.language,
    isFree: line.is_free === null ? '' : String(line.is_free),
    note: both(line.note),
    verifiedAt: line.verified_at ?? '',
    source: line.source,
  };
}

/** Returns the differences of two versions: first the lines of the newer version in its order, then removed lines. */
export function differencesOf(before: HelpLine[], after: HelpLine[]): Difference[] {
  const found: Difference[] = [];
  for (const line of after) {
    const old = before.find((one) => one.id === line.id);
    const [texts, oldTexts] = [textsOf(line), old && textsOf(old)];
    const fields = (Object.keys(texts) as Field[])
      .map((field) => ({ field, before: oldTexts?.[field] ?? '', after: texts[field] }))
      .filter((one) => one.before !== one.after);
    if (old === undefined || fields.length > 0)
      found.push({ id: line.id, name: line.name, what: old === undefined ? 'added' : 'changed', fields });
  }
  for (const line of before)
    if (!after.some((one) => one.id === line.id))
      found.push({ id: line.id, name: line.name, what: 'removed', fields: [] });
  return found;
}
