/** Which component has each class. */
const components = new Map<string, string>();

/**
 * Returns the class that marks the elements of one component. No compression makes such a class smaller, and the first
 * load has many, so it is short. Throws if two components of a client get the same class.
 */
export function classOf(hash: (text: string) => string, component: string): string {
  const name = `c${hash(component).slice(0, 4)}`;
  const other = components.get(name) ?? component;
  if (other !== component) throw new Error(`${component} and ${other} get the same class; rename one`);
  components.set(name, component);
  return name;
}
