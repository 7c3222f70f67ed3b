// Label maps: one channel a label, and the overlap of such channels (soft Dice) with its gradient.
import oneHotSource from '../../kernels/one_hot.wgsl';
import softDiceSource from '../../kernels/soft_dice.wgsl';
import softDiceDxSource from '../../kernels/soft_dice_dx.wgsl';
import softDiceSumsSource from '../../kernels/soft_dice_sums.wgsl';
import { kernel } from '../gpu/kernel.ts';
import { type Dispatch, type Op, sameShape, show, type Tensor, trace } from '../graph/graph.ts';
import { flat, volume, WG } from './launch.ts';
import { sumRows } from './reduce.ts';

const oneHotKernel = kernel('one_hot', oneHotSource);
const sumsKernel = kernel('soft_dice_sums', softDiceSumsSource);
const softDiceKernel = kernel('soft_dice', softDiceSource);
const softDiceDxKernel = kernel('soft_dice_dx', softDiceDxSource);

/** Labels at most: the kernel holds them as constants. */
const MOST_LABELS = 64;
/** Largest whole number up to which f32 holds all. */
const LARGEST_LABEL = 2 ** 24;

const oneHotOp: Op<{ values: readonly number[] }> = {
  name: 'oneHot',
  constant: true,
  shape([labels], { values }) {
    const { n, d, h, w } = volume('oneHot', 'labels', labels, 1);
    if (!values.length || values.length > MOST_LABELS || new Set(values).size < values.length)
      throw new Error(`oneHot: needs 1 to ${MOST_LABELS} labels, each once, got ${values.length}: [${values}]`);
    if (!values.every((v) => Number.isInteger(v) && Math.abs(v) <= LARGEST_LABEL))
      throw new Error(`oneHot: labels are whole numbers within ±2²⁴, got [${values}]`);
    return [[n, values.length, d, h, w]];
  },
  launch({ inputs: [labels], outputs: [y], attrs: { values } }) {
    const { n, voxels } = volume('oneHot', 'labels', labels.shape);
    const { constants, groups } = flat(voxels, n);
    const list = `array<f32, ${values.length}>(${values.map((v) => v.toFixed(1)).join(', ')})`;
    return [
      {
        kernel: oneHotKernel,
        constants: { ...constants, K: values.length, VALUES: list },
        groups,
        bindings: { labels, y },
        params: { spatial: voxels },
      },
    ];
  },
};

/**
 * labels [N, 1, D, H, W], whole numbers → [N, values.length, D, H, W]: channel k is 1 where the label is values[k], else 0. Up to 64
 * labels, each once; usually without the background. A constant to gradients.
 */
export const oneHot = (labels: Tensor, values: readonly number[]): Tensor => trace(oneHotOp, [labels], { values: [...values] });

const softDiceOp: Op<{ epsilon: number }> = {
  name: 'softDice',
  shape([a, b], { epsilon }) {
    const { n, c } = volume('softDice', 'a', a);
    if (!sameShape(a, b)) throw new Error(`softDice: a ${show(a)} and b ${show(b)} differ in shape`);
    if (!(epsilon > 0)) throw new Error(`softDice: epsilon must be above 0, got ${epsilon}`);
    return [[1], [n, c, 2]];
  },
  launch({ inputs: [a, b], outputs: [y, slopes], attrs: { epsilon }, workspace }): Dispatch[] {
    const { n, c, voxels } = volume('softDice', 'a', a.shape);
    const rows = n * c;
    // Invocations that share a row, in workgroups; each takes some hundred voxels.
    const groups = Math.min(64, Math.ceil(voxels / (256 * WG)));
    const [partials, sums] = [workspace('partials', [groups * WG, rows, 3]), workspace('sums', [rows, 3])];
    return [
      {
        kernel: sumsKernel,
        constants: { WG },
        groups: [groups, rows, 1],
        bindings: { a, b, partials },
        params: { spatial: voxels },
      },
      sumRows(partials, sums, groups * WG, 3 * rows),
      {
        kernel: softDiceKernel,
        constants: { WG },
        groups: [1, 1, 1],
        bindings: { sums, y, slopes },
        params: { rows, epsilon },
      },
    ];
  },
  vjp({ inputs: [a, b], outputs: [, slopes], cotangents: [dy], wanted }) {
    if (!dy) return [];
    return [
      wanted[0] ? trace(softDiceDxOp, [slopes, a, b, dy], {}) : undefined,
      wanted[1] ? trace(softDiceDxOp, [slopes, b, a, dy], {}) : undefined,
    ];
  },
};

const softDiceDxOp: Op<object> = {
  name: 'softDiceDx',
  shape: ([, x]) => [x],
  launch({ inputs: [slopes, x, other, dy], outputs: [dx] }) {
    const { n, c, voxels } = volume('softDice', 'x', x.shape);
    return [
      {
        kernel: softDiceDxKernel,
        ...flat(voxels, n * c),
        bindings: { slopes, x, other, dy, dx },
        params: { spatial: voxels },
      },
    ];
  },
};

/**
 * 1 − mean soft Dice of a and b [N, C, D, H, W] with values 0…1, shape [1]: the mean over the channels (n, c) present in a, those with
 * Σa² > ε, of 1 − 2·Σab/(Σa² + Σb² + ε); 0 where a has none. Milletari et al., V-Net, 3DV 2016. VJP for both.
 */
export const softDice = (a: Tensor, b: Tensor, epsilon = 1e-5): Tensor => a.graph.apply(softDiceOp, [a, b], { epsilon })[0];
