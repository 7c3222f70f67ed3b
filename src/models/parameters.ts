// Named parameters of a cell: declared with shape and initial values, kept on the GPU between runs, loaded and read back by name.
import { type Graph, numel, sameShape, type Shape, show, type Tensor } from '../graph/graph.ts';
import type { Schedule } from '../graph/schedule.ts';
import { normalDraw, seededRandom } from '../ops/random.ts';

/** Initial values of a parameter, drawn from a uniform generator. */
export type Initialiser = (shape: Shape, random: () => number) => Float32Array;

const draw =
  (next: (random: () => number) => number): Initialiser =>
  (shape, random) =>
    Float32Array.from({ length: numel(shape) }, () => next(random));

export const constant = (value: number): Initialiser => draw(() => value);
export const zeros: Initialiser = constant(0);
/** Normal numbers of mean 0. */
export const normal = (sd: number): Initialiser => draw((random) => sd * normalDraw(random));

/**
 * Uniform in ±1/√fanIn: what torch.nn.Conv3d starts with (kaiming_uniform_ with a = √5). For a weight [Co, Ci, K, K, K] the
 * fan-in is Ci·K³; for its bias [Co], give that number.
 */
export const kaimingUniform =
  (fanIn?: number): Initialiser =>
  (shape, random) => {
    if (fanIn === undefined && shape.length < 2)
      throw new Error(`kaimingUniform: give the fan-in of the layer for a parameter ${show(shape)}`);
    const bound = 1 / Math.sqrt(fanIn ?? numel(shape.slice(1)));
    return draw((uniform) => bound * (2 * uniform() - 1))(shape, random);
  };

/** Values by parameter name: what a .safetensors file holds. */
export type ParameterValues = ReadonlyMap<string, { shape: Shape; data: Float32Array }>;

export class Parameters {
  private readonly declared = new Map<string, { tensor: Tensor; initialise: Initialiser }>();

  constructor(private readonly graph: Graph) {}

  /** A persistent variable, shaped as PyTorch shapes it. Every declared parameter must be used by some phase. */
  declare(name: string, shape: Shape, initialise: Initialiser): Tensor {
    if (this.declared.has(name)) throw new Error(`parameter ${name} is declared twice`);
    const tensor = this.graph.output(this.graph.variable(name, shape, 'weight', { persistent: true }));
    this.declared.set(name, { tensor, initialise });
    return tensor;
  }

  /** All parameters, by name, in the order of declaration. */
  get tensors(): ReadonlyMap<string, Tensor> {
    return new Map([...this.declared].map(([name, { tensor }]) => [name, tensor]));
  }

  /** Initial values; the same for the same seed and the same declarations in the same order. */
  initial(seed: number): ParameterValues {
    const random = seededRandom(seed);
    return new Map(
      [...this.declared].map(
        ([
          name,
          {
            tensor: { shape },
            initialise,
          },
        ]) => [name, { shape, data: initialise(shape, random) }],
      ),
    );
  }

  /** Throws unless there are values for exactly the declared names, of the declared shapes. */
  check(values: ParameterValues): void {
    const missing = [...this.declared.keys()].filter((name) => !values.has(name));
    const unknown = [...values.keys()].filter((name) => !this.declared.has(name));
    if (missing.length || unknown.length)
      throw new Error(`parameters: missing ${missing.join(', ') || 'none'}; unknown ${unknown.join(', ') || 'none'}`);
    for (const [name, { shape }] of values) {
      const own = this.declared.get(name)!.tensor.shape;
      if (!sameShape(shape, own)) throw new Error(`parameter ${name} is ${show(own)}, the value ${show(shape)}`);
    }
  }

  /** Uploads values for exactly the declared names and shapes; what is missing, unknown or shaped otherwise is refused first. */
  upload(schedule: Schedule, values: ParameterValues): void {
    this.check(values);
    for (const [name, { data }] of values) schedule.upload(this.declared.get(name)!.tensor, data);
  }

  /** Reads all values back. */
  async read(schedule: Schedule): Promise<ParameterValues> {
    const values = new Map<string, { shape: Shape; data: Float32Array }>();
    for (const [name, { tensor }] of this.declared) values.set(name, { shape: tensor.shape, data: await schedule.read(tensor) });
    return values;
  }
}
