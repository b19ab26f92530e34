/** Puts the subject, the old value and the new value of an audit entry into words. */
import type { Schemas } from '../shared/api/client';
import { lastOf } from '../shared/baseline';
import { formatRupiah } from '../shared/time/format';
import type { Language } from '../shared/words/language.svelte';
import { shortenId, formatWib } from './format';
import type { ConfigurationKey } from './words/closed';
import { wordOrText, words } from './words/words';

type Entry = Schemas['AuditEntry'];

const SCREENS: Partial<Record<Entry['subject'], string>> = {
  payment: 'payments',
  review_case: 'cases',
  report: 'reports',
  session: 'sessions',
  customer: 'customers',
  mitra: 'mitras',
};

/**
 * Returns the name of the entry's subject. `path` is the path of the subject's screen, or undefined if the subject has
 * no screen.
 */
export function subjectOf(entry: Entry): { name: string; path?: string } {
  const subject = words().audit.subjects[entry.subject];
  const screen = SCREENS[entry.subject];
  if (screen !== undefined) {
    const path = `/control-center/${screen}/${entry.subject_id}`;
    return { name: `${subject} ${shortenId(entry.subject_id)}`, path };
  }
  if (entry.subject === 'configuration') {
    return {
      name: words().configuration.labels[entry.subject_id as ConfigurationKey],
      path: '/control-center/configuration',
    };
  }
  // An operator searches for this key at the gateway, so show the whole key.
  if (entry.subject === 'gateway') return { name: `${subject} ${entry.subject_id}` };
  if (entry.subject === 'help_lines')
    return { name: `${subject} ${entry.subject_id}`, path: '/control-center/help-lines' };
  if (entry.subject !== 'operator') return { name: subject };
  if (entry.subject_id === entry.actor) return { name: words().audit.itself };
  return { name: `${subject} ${shortenId(entry.subject_id)}` };
}

/**
 * Returns the text of an entry's old or new value. The text has a currency for an amount, a unit for a number, and a
 * word for a code.
 */
export function valueOf(entry: Entry, value: string | null, language: Language): string {
  if (value === null) return '–';
  if (entry.action.startsWith('refund_')) return formatRupiah(Number(value));
  if (entry.action.startsWith('gateway_alert:'))
    return value === entry.new_value ? formatRupiah(Number(value)) : value;
  if (entry.action === 'what_if_asked') return changesOf(value);
  if (entry.action === 'list_exported') return filtersOf(value, language);
  if (entry.action === 'device_revoked' || entry.action === 'person_device_signed_out')
    return shortenId(value);
  if (entry.action === 'transcript_requested') return `“${value}”`;
  if (entry.action === 'transcript_approved') return shortenId(value);
  if (entry.action === 'transcript_revealed' || entry.action === 'phone_revealed') return groundOf(value);
  if (value.startsWith('suspend')) return suspensionOf(value, language);
  if (entry.action === 'configuration_changed') {
    const unit = words().configuration.units[lastOf(entry.subject_id.split('_')) ?? ''];
    return unit === undefined ? wordOrText(value) : `${value} ${unit}`;
  }
  return wordOrText(value);
}

/** Puts a ground and a reason, such as `report 0192…: A complaint`, into words. */
function groundOf(value: string): string {
  const [, kind = '', id, reason = ''] = /^(\w+)(?: ([0-9a-f-]{36}))?: (.*)$/s.exec(value) ?? [];
  // The entries of earlier versions have only a reason.
  if (words().groundWords[kind] === undefined) return `“${value}”`;
  return `${words().groundWords[kind]}${id === undefined ? '' : ` ${shortenId(id)}`}: “${reason}”`;
}

/** Puts a suspension, such as `suspended until 2026-01-31T05:00:00+00:00: report 0192…`, into words. */
function suspensionOf(value: string, language: Language): string {
  const [, verb = '', until, reason] =
    /^(suspend(?:ed)?)(?: until ([0-9-]{10}T[0-9:.]+(?:Z|[+-][0-9:]+)))?(?: \(awaits approval\))?(?:: (.*))?$/s.exec(
      value,
    ) ?? [];
  if (verb === '') return wordOrText(value);
  const end = until === undefined ? '' : ` ${words().reports.until(formatWib(until, language))}`;
  const report = /^report ([0-9a-f-]{36})$/.exec(reason ?? '')?.[1];
  const why = report === undefined ? `“${reason}”` : `${words().audit.subjects.report} ${shortenId(report)}`;
  return `${wordOrText(verb)}${end}${reason === undefined ? '' : `: ${why}`}`;
}

/** Puts the changes of a replay, such as `blast_timeout_seconds=30&extra_mitras=2 20-23`, into words. */
function changesOf(given: string): string {
  const text = words().whatIf;
  const asked = new URLSearchParams(given);
  const [count = '', hours = ''] = (asked.get('extra_mitras') ?? '').split(' ');
  const [from = '', to = ''] = hours.split('-');
  return [
    asked.has('blast_timeout_seconds') ? text.blastTo(Number(asked.get('blast_timeout_seconds'))) : '',
    asked.has('targeted_timeout_seconds')
      ? text.targetedTo(Number(asked.get('targeted_timeout_seconds')))
      : '',
    count === '' ? '' : text.extraFrom(Number(count), Number(from), Number(to)),
  ]
    .filter((part) => part !== '')
    .join(', ');
}

/** Puts the filters of an exported list, such as `status=open&tag=customer_cancelled`, into words. */
function filtersOf(given: string, language: Language): string {
  const names: Record<string, string> = words().exportedBy;
  const one = (filter: string) => {
    const [name = '', value = ''] = filter.split(/=(.*)/s);
    if (name === 'from' || name === 'to') return `${names[name]} ${formatWib(value, language)}`;
    if (name.endsWith('_rp')) return `${names[name]} ${formatRupiah(Number(value))}`;
    const said = wordOrText(/^(True|False)$/.test(value) ? value.toLowerCase() : value);
    return `${names[name] ?? name}: ${/^[0-9a-f-]{36}$/.test(said) ? shortenId(said) : said}`;
  };
  return given.split('&').map(one).join(', ');
}
