// Reads the goldens that make.py wrote: values and gradients from PyTorch in float64.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NdArray } from '../reference/ndarray.ts';

export interface Golden {
  op: string;
  attrs: any;
  /** Exact float32 numbers, as is the cotangent. */
  inputs: NdArray[];
  outputs: NdArray[];
  /** Null where there is no gradient (warpNearest, adamStep). */
  cotangent: NdArray | null;
  /** Null for inputs without a gradient. */
  grads: (NdArray | null)[];
}

interface Entry {
  shape: number[];
  type: 'f4' | 'f8';
  at: number;
}

/** test/golden: bundled tests run from below dist/, so look upwards for it. */
function folder(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    const candidate = join(at, 'test', 'golden');
    if (existsSync(join(candidate, 'goldens.json'))) return candidate;
    if (at === dirname(at)) throw new Error('goldens.json: not found; run python3 test/golden/make.py');
  }
}

export function goldens(): Golden[] {
  const at = folder();
  const bytes = Uint8Array.from(readFileSync(join(at, 'goldens.bin'))).buffer;
  const read = (entry: Entry): NdArray => {
    const size = entry.shape.reduce((product, n) => product * n, 1);
    const values = entry.type === 'f4' ? new Float32Array(bytes, entry.at, size) : new Float64Array(bytes, entry.at, size);
    return { shape: entry.shape, data: Float64Array.from(values) };
  };
  const optional = (entry: Entry | null) => entry && read(entry);
  const records: any[] = JSON.parse(readFileSync(join(at, 'goldens.json'), 'utf8'));
  return records.map(({ op, attrs, inputs, outputs, cotangent, grads }) => ({
    op,
    attrs,
    inputs: inputs.map(read),
    outputs: outputs.map(read),
    cotangent: optional(cotangent),
    grads: grads.map(optional),
  }));
}
