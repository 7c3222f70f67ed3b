// What a data list says of all its images: modality and labels.
import { type Fail, show } from './data-entries.ts';
import { isObject } from './json.ts';

/** "CT", or {"0": "MR", "1": "MR"} by channel; undefined where there is none, or both kinds. */
export function modalityOf(value: unknown, fail: Fail): 'mri' | 'ct' | undefined {
  if (value === undefined) return undefined;
  const named = isObject(value) ? Object.values(value) : [value];
  const kinds = new Set(
    named.map((name) => {
      if (typeof name === 'string' && /ct\b/i.test(name)) return 'ct'; // CT, FBCT, CBCT
      if (typeof name === 'string' && /^\s*(mr|t[12])/i.test(name)) return 'mri'; // MR, MRI, MR-T1, T1w
      return fail('modality', `${show(name)} is neither MR nor CT; leave "modality" out to tell by the values`);
    }),
  );
  return kinds.size === 1 ? [...kinds][0] : undefined;
}

/** [2, 3], or {"2": name}, or Learn2Reg's {channel: {"2": name}}; without 0, the background. Undefined where there is none. */
export function labelsOf(value: unknown, modality: unknown, fail: Fail): number[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) && !isObject(value)) return fail('labels', `a list of label values is needed, got ${show(value)}`);
  const channels = isObject(modality) ? Object.keys(modality) : ['0'];
  const byChannel = isObject(value) && Object.entries(value).every(([key, inner]) => isObject(inner) && channels.includes(key));
  const keys = Array.isArray(value) ? value : (byChannel ? Object.values(value) : [value]).flatMap((names) => Object.keys(names as object));
  const labels = keys.map((key) => {
    const label = typeof key === 'string' && key.trim() ? Number(key) : key;
    return Number.isSafeInteger(label) ? (label as number) : fail('labels', `labels are whole numbers, got ${show(key)}`);
  });
  const foreground = [...new Set(labels)].filter((label) => label !== 0);
  return foreground.length ? foreground : undefined;
}
