/**
 * An ESLint rule that refuses each platform function that a browser of .browserslistrc lacks.
 *
 * The rule asks TypeScript for the declaration of a name in the standard library. The rule then looks up that
 * declaration in MDN's data of browser support. The rule finds `AbortSignal.any`, `list.findLast` and
 * `dialog.showModal`. The package eslint-plugin-compat 7 compares names only, and finds none of these three functions.
 * The package eslint-plugin-baseline-js 0.7 finds all three functions, but it does not find `crypto.randomUUID`. The
 * package eslint-plugin-baseline-js accepts only a Baseline year such as 2022, and cannot read a list of browsers.
 *
 * The test cases of this rule are in shared/baseline.cases.ts.
 */
import { ESLintUtils, type TSESTree } from '@typescript-eslint/utils';
import ts from 'typescript';
import { browsersWithout, supportOf, type Path } from './baseline.ts';

/** The syntax nodes in which an identifier names a type. The rule ignores types, because the build removes them. */
const TYPE_POSITIONS = ['TSTypeReference', 'TSQualifiedName', 'TSTypeQuery', 'TSInterfaceHeritage'];

/** The names that the rule allows, each with the reason. A name is a member, or an interface with all its members. */
type Exceptions = Readonly<Record<string, string>>;

export const supportedByBaseline = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    schema: [{ type: 'object', additionalProperties: { type: 'string' } }],
    messages: { missing: '{{name}} is missing in {{browsers}}, which .browserslistrc supports.' },
    defaultOptions: [{}] as [Exceptions],
  },
  create(context, [exceptions]) {
    const { program, getSymbolAtLocation, getTypeAtLocation } = ESLintUtils.getParserServices(context);
    const checker = program.getTypeChecker();

    function check(node: TSESTree.Identifier): void {
      if (TYPE_POSITIONS.includes(node.parent.type)) return;
      const owner = ownerOf(node);
      const type = owner && getTypeAtLocation(owner);
      const symbol = type?.getProperty(node.name) ?? getSymbolAtLocation(node);
      const declaration = symbol?.declarations?.find((one) =>
        program.isSourceFileDefaultLibrary(one.getSourceFile()),
      );
      if (declaration === undefined) return;
      for (const path of pathsOf(declaration, node.name, type ? namesOf(type, checker) : [])) {
        const support = supportOf(path);
        if (support === undefined) continue;
        const name = path
          .join('.')
          .replace(/^(api|javascript\.builtins)\./, '')
          .replace(/_static$/, '');
        const browsers = browsersWithout(support);
        if (browsers.length > 0 && !(name in exceptions) && !(name.split('.')[0]! in exceptions))
          context.report({ node, messageId: 'missing', data: { name, browsers: browsers.join(', ') } });
        return;
      }
    }

    return { Identifier: check };
  },
});

/**
 * Returns the object from which the code reads `name`, for example in `object.name` or `const { name } = object`. If
 * `name` stands alone, it has no object.
 */
function ownerOf(node: TSESTree.Identifier): TSESTree.Node | undefined {
  const { parent } = node;
  if (parent.type === 'MemberExpression' && parent.property === node && !parent.computed)
    return parent.object;
  const isPatternKey =
    parent.type === 'Property' && parent.key === node && parent.parent.type === 'ObjectPattern';
  return isPatternKey ? parent.parent : undefined;
}

/**
 * Returns possible keys of this declaration in MDN's data, the most likely key first. `owners`: the types that can
 * declare the member.
 */
function pathsOf({ parent }: ts.Declaration, name: string, owners: readonly string[]): Path[] {
  // declare var AbortSignal: { any(…): … }
  if (ts.isTypeLiteralNode(parent) && ts.isVariableDeclaration(parent.parent))
    return [['api', parent.parent.name.getText(), `${name}_static`]];
  // interface Array<T> { at(…): … }, interface ReadonlyArray<T> { … }, interface ObjectConstructor { hasOwn(…): … }
  if (ts.isInterfaceDeclaration(parent))
    return [parent.name.text, ...owners].flatMap((owner) => [
      ['api', owner, name],
      ['javascript', 'builtins', owner.replace(/Constructor$|^Readonly/, ''), name],
    ]);
  return [
    ['api', name],
    ['api', 'Window', name],
    ['javascript', 'builtins', name],
  ];
}

/**
 * The names of a type and of its base types. TypeScript's library declares many members in mixins that MDN's data does
 * not have.
 */
function namesOf(type: ts.Type, checker: ts.TypeChecker): string[] {
  if (type.isUnionOrIntersection()) return type.types.flatMap((one) => namesOf(one, checker));
  const bases = type.isClassOrInterface() ? checker.getBaseTypes(type) : [];
  return [type.symbol?.name ?? '', ...bases.flatMap((base) => namesOf(base, checker))];
}
