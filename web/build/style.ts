/**
 * Adapts the built styles to the browsers of .browserslistrc. This module also finds the selectors, properties and
 * values that one of these browsers does not know.
 *
 * If a browser does not know one of a rule's selectors, the browser drops the whole rule. If a browser does not know a
 * property or its value, the browser drops only this declaration.
 */
import { parseCss, type AST } from 'svelte/compiler';
import type { Plugin } from 'vite';
import { STYLE_EXCEPTIONS } from './baseline-exceptions.ts';
import { browsersWithout, supportOf, type Path } from './baseline.ts';
import { visit } from './syntax.ts';

/**
 * Matches a selector with two parts in Svelte's output. Svelte adds the class of its component (classes.ts) to each part.
 */
const MARKED_PARTS = /\.(c\w{1,4})([^{},]*?):where\(\.\1\)/;

/**
 * Returns this style without Svelte's `:where`, because Chrome 87 does not know `:where`. For example, `.a.c1a2
 * p:where(.c1a2)` becomes `.a p.c1a2`. The old and the new selector have the same specificity. In the new
 * selector, only the last part must belong to the component.
 */
export function withoutWhere(style: string): string {
  const next = style.replace(MARKED_PARTS, '$2.$1');
  return next === style ? style : withoutWhere(next);
}

/** The Vite plugin that applies `withoutWhere`. */
export function oldSelectors(): Plugin {
  return {
    name: 'curhat-old-selectors',
    enforce: 'pre',
    transform: (code, id) =>
      id.endsWith('type=style&lang.css') ? { code: withoutWhere(code), map: null } : null,
  };
}

/** Returns the unsupported selectors, at-rules, properties, values and functions of this style. */
export function findUnsupportedStyle(style: string): string[] {
  const found = new Set<string>();
  const isMissing = (path: Path) => {
    const support = supportOf(['css', ...path]);
    return support !== undefined && browsersWithout(support).length > 0;
  };
  const check = (name: string, ...paths: Path[]) => {
    if (!(name in STYLE_EXCEPTIONS) && paths.some(isMissing)) found.add(name);
  };
  const checkRule = (rule: AST.CSS.Rule | AST.CSS.Atrule) => {
    if (rule.type === 'Atrule') {
      check(`@${rule.name}`, ['at-rules', rule.name]);
      for (const [, feature = ''] of rule.prelude.matchAll(/\(([-\w]+)/g))
        check(`@media (${feature})`, ['at-rules', 'media', feature]);
      // A rule inside `@supports` applies only in browsers that support the rule. The steps of an animation have no
      // selectors to check.
      if (rule.name === 'supports') return;
    } else {
      visit(rule.prelude, (node) => {
        if (!/^Pseudo(Class|Element)Selector$/.test(node.type)) return;
        const name = node.name as string;
        const shown = node.type === 'PseudoClassSelector' ? `:${name}` : `::${name}`;
        check(shown, ['selectors', name]);
        if (shown in STYLE_EXCEPTIONS && rule.prelude.children.length > 1)
          found.add(`${shown} in a list of selectors`);
      });
    }
    for (const child of rule.block?.children ?? [])
      if (child.type === 'Declaration') checkDeclaration(child.property, child.value);
      else checkRule(child);
  };
  const checkDeclaration = (property: string, value: string) => {
    if (property in STYLE_EXCEPTIONS) return;
    check(property, ['properties', property]);
    for (const [word] of value.replace(/'[^']*'|"[^"]*"|--[-\w]+/g, '').matchAll(/[a-z][-a-z]*\(?/g)) {
      const name = word.replace('(', '');
      if (word.endsWith('(')) check(`${name}()`, ['types', name], ['types', 'color', name]);
      else check(`${property}: ${name}`, ['properties', property, name]);
    }
    if (/\d[dsl]v([hwib]|min|max)\b/.test(value))
      check('the unit dvh', ['types', 'length', 'viewport_percentage_units_dynamic']);
  };
  for (const rule of parseCss(style).children) checkRule(rule);
  return [...found].sort();
}
