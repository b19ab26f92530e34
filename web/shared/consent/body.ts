/** Reads the lines of a text that people accept. A text has headings, list items and paragraphs, and no other markup. */

export type Block =
  { kind: 'title' | 'heading' | 'paragraph'; text: string } | { kind: 'list'; items: string[] };

/** Returns the blocks of a text in their order. Neighbouring list items form one list. */
export function blocksOf(body: string): Block[] {
  const blocks: Block[] = [];
  for (const line of body.split('\n').map((one) => one.trim())) {
    const last = blocks[blocks.length - 1];
    if (line.startsWith('- ')) {
      const item = line.slice(2).trim();
      if (last?.kind === 'list') last.items.push(item);
      else blocks.push({ kind: 'list', items: [item] });
    } else if (line.startsWith('## ')) blocks.push({ kind: 'heading', text: line.slice(3).trim() });
    else if (line.startsWith('# ')) blocks.push({ kind: 'title', text: line.slice(2).trim() });
    else if (line !== '') blocks.push({ kind: 'paragraph', text: line });
  }
  return blocks;
}

/** Returns the title of a text, or `otherwise` if the text has none. */
export function titleOf(body: string, otherwise: string): string {
  const first = blocksOf(body).find((block) => block.kind === 'title');
  return first?.kind === 'title' ? first.text : otherwise;
}
