// The methods that an evaluation compares, each with the options of its registrations.
import { methods, type RegisterOptions } from '../../register/options.ts';
import { UsageError } from '../args.ts';

export interface Method {
  /** Of its own among the methods of an evaluation. */
  name: string;
  options: RegisterOptions;
  /** What the results say of it, as JSON. */
  told: Record<string, unknown>;
}

/** `names` as given to --method, and the options that all of them share. */
export function methodsOf(names: readonly string[], shared: Omit<RegisterOptions, 'method'>): Method[] {
  const given = Object.fromEntries(Object.entries(shared).filter(([, value]) => value !== undefined));
  return names.map((name, n) => {
    const method = methods.find((one) => one === name);
    if (!method) throw new UsageError(`--method: there is no ${name}; there are ${methods.join(', ')}`);
    if (names.indexOf(name) !== n) throw new UsageError(`--method: ${name} is given twice`);
    return { name, options: { ...given, method }, told: { ...given, method } };
  });
}
