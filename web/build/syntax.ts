/** A node of the syntax tree of a script (ESTree). */
export interface Node {
  type: string;
  [field: string]: unknown;
}

/** Calls `see` with each node of the tree and its parent node. */
export function visit(tree: object, see: (node: Node, parent?: Node) => void, parent?: Node): void {
  const node = tree as Node;
  see(node, parent);
  for (const child of childrenOf(node)) visit(child, see, node);
}

/** Returns the child nodes of this node. */
export function childrenOf(node: object): Node[] {
  const values = Object.values(node).flat() as (Node | null | undefined)[];
  return values.filter((value): value is Node => typeof value?.type === 'string');
}
