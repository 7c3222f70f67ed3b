// The methods that an evaluation compares, each with the options of its registrations.
import { methods, type RegisterOptions } from '../../register/options.ts';
import { UsageError } from '../args.ts';
import { type ModelFile, modelNote } from '../models.ts';

export interface Method {
  /** Of its own among the methods of an evaluation. */
  name: string;
  options: RegisterOptions;
  /** What the results say of it, as JSON. */
  told: Record<string, unknown>;
}

/**
 * `names` as given to --method, the options that all of them share, and the trained models that `deq` stands for, each a method of its own.
 */
export function methodsOf(
  names: readonly string[],
  shared: Omit<RegisterOptions, 'method' | 'model'>,
  models: readonly ModelFile[],
): Method[] {
  const given = Object.fromEntries(Object.entries(shared).filter(([, value]) => value !== undefined));
  const trained = ({ model, ...file }: ModelFile): Method => {
    const options = { ...given, method: 'deq' as const };
    const name = models.length > 1 ? `deq ${file.card.name}` : 'deq';
    return { name, options: { ...options, model }, told: { ...options, model: modelNote({ model, ...file }) } };
  };
  const found = names.flatMap((name, n) => {
    const method = methods.find((one) => one === name);
    if (!method) throw new UsageError(`--method: there is no ${name}; there are ${methods.join(', ')}`);
    if (names.indexOf(name) !== n) throw new UsageError(`--method: ${name} is given twice`);
    return method === 'deq' ? models.map(trained) : [{ name, options: { ...given, method }, told: { ...given, method } }];
  });
  const twice = found.find(({ name }, n) => found.findIndex((other) => other.name === name) < n);
  if (twice) throw new UsageError(`--model: two models are named ${twice.name.slice('deq '.length)}`);
  return found;
}
