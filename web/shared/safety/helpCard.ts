/** The text of the help card that a mitra sends as an ordinary message (H.3), made from the help lines (H.1). */
import { linesOr, linkOf, textIn, type ShownLine } from '../help/lines';
import { language } from '../words/language.svelte';
import { shared } from '../words/shared';
import { safetyWords } from './words';

/** Returns one line of the list as one line of text, such as `• 112: emergencies`. */
function textOf(line: ShownLine): string {
  const what = textIn(language(), line.what_for);
  const channels = line.channels.map((channel) =>
    channel.kind === 'call'
      ? linkOf(channel)[1]
      : `${channel.kind === 'whatsapp' ? 'WhatsApp ' : ''}${channel.value}`,
  );
  return channels.length === 0 ? `• ${what}` : `• ${line.name} (${channels.join(', ')}): ${what}`;
}

export function helpCardText(): string {
  return [safetyWords().helpCard, ...linesOr(shared().helpCard.lines).map(textOf)].join('\n');
}
