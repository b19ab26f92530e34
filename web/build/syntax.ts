/** A node of the syntax tree of a script (ESTree). */
export interface Node {
  type: string;
  [field: string]: unknown;
}

/** Calls `see` with each node of the tree, and with the node above it. */
export function visit(tree: object, see: (node: Node, parent?: Node) => void, parent?: Node): void {
  const node = tree as Node;
  see(node, parent);
  for (const value of Object.values(node))
    for (const child of [value].flat() as (Node | null)[])
      if (typeof child?.type === 'string') visit(child, see, node);
}
