/**
 * Searches the built scripts for platform functions and syntax that a browser of .browserslistrc lacks.
 *
 * ESLint sees only our own sources, with their types. This check of the built scripts also sees the code of packages,
 * such as Svelte. A built script has no types. The check therefore finds only global objects, their static members, and
 * methods of the language, such as `list.at(-1)`. The browser tests delete the functions that a browser of
 * .browserslistrc lacks, and then use the apps. So the browser tests find the uses of missing functions that this check
 * cannot find.
 */
import { parseAst } from 'vite';
import { BASELINE_EXCEPTIONS } from './baseline-exceptions.ts';
import { findMissing } from './baseline.ts';
import { childrenOf, visit, type Node } from './syntax.ts';

const missing = findMissing();
const GLOBALS = new Set(missing.globals.filter((name) => !(name in BASELINE_EXCEPTIONS)));
const STATIC_MEMBERS = new Set(
  missing.members
    .filter(([owner, , isStatic]) => isStatic && !(owner in BASELINE_EXCEPTIONS))
    .map(([owner, name]) => `${owner}.${name}`),
);
const METHODS = new Set(missing.members.filter(isOnlyNewMethod).map(([, name]) => name));

/**
 * Returns true if a browser of .browserslistrc lacks this method, and lacks every other method of the language with the
 * same name. The name alone then shows that a browser lacks the method.
 */
function isOnlyNewMethod([owner, name, isStatic]: [string, string, boolean]): boolean {
  if (isStatic || missing.globals.includes(owner) || !isInLanguage(owner, name)) return false;
  const isMissing = (other: string) =>
    missing.members.some(([one, member]) => one === other && member === name);
  return Object.getOwnPropertyNames(globalThis).every(
    (other) => !isInLanguage(other, name) || isMissing(other),
  );
}

function isInLanguage(owner: string, name: string): boolean {
  const object: unknown = (
    Object.getOwnPropertyDescriptor(globalThis, owner) as { value?: unknown } | undefined
  )?.value;
  const prototype = (object as { prototype?: unknown } | undefined)?.prototype;
  return prototype instanceof Object && Object.hasOwn(prototype, name);
}

/** The syntax that a browser of .browserslistrc cannot read and that the build does not convert. */
const SYNTAX: Record<string, (node: Node) => boolean> = {
  'static {}': (node) => node.type === 'StaticBlock',
  '#name in object': (node) => node.operator === 'in' && (node.left as Node).type === 'PrivateIdentifier',
  'a regular expression with the flag d or v': (node) =>
    node.type === 'Literal' && /[dv]/.test((node.regex as { flags: string } | undefined)?.flags ?? ''),
  'a regular expression with a lookbehind': (node) =>
    node.type === 'Literal' &&
    /\(\?<[=!]/.test((node.regex as { pattern: string } | undefined)?.pattern ?? ''),
  'call?.(...list)': (node) =>
    node.type === 'CallExpression' &&
    node.optional === true &&
    (node.arguments as Node[]).some((argument) => argument.type === 'SpreadElement'),
};

/** Returns the unsupported functions and the unsupported syntax of this script. */
export function findUnsupported(script: string): string[] {
  const found = new Set<string>();
  const program = parseAst(script);
  if (hasTopLevelAwait(program)) found.add('await outside of a function');
  visit(program, (node, parent) => {
    for (const [name, isUsed] of Object.entries(SYNTAX)) if (isUsed(node)) found.add(name);
    if (node.type === 'MemberExpression' && !node.computed) {
      const name = (node.property as Node).name as string;
      const owner = (node.object as Node).name as string | undefined;
      if (STATIC_MEMBERS.has(`${owner}.${name}`)) found.add(`${owner}.${name}`);
      if (METHODS.has(name) && parent?.type === 'CallExpression' && parent.callee === node)
        found.add(`.${name}()`);
    }
    if (node.type === 'Identifier' && GLOBALS.has(node.name as string) && !isMemberName(node, parent))
      found.add(node.name as string);
  });
  return [...found].sort();
}

function hasTopLevelAwait(node: object): boolean {
  return childrenOf(node).some(
    (child) =>
      child.type === 'AwaitExpression' ||
      child.await === true ||
      (!/Function/.test(child.type) && hasTopLevelAwait(child)),
  );
}

function isMemberName(node: Node, parent: Node | undefined): boolean {
  return (parent?.property === node || parent?.key === node) && !parent?.computed;
}
