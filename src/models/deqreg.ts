// The learned cell: f(u) = u + net(u, force, fixed, warped), a small U-Net. Our reconstruction of DEQReg (arXiv 2507.00582): two
// resolutions, leaky ReLU 0.2, and a last layer that starts small but not at zero (with zero every field would be a fixed point).
import type { Graph, Tensor } from '../graph/graph.ts';
import { conv3d, type ConvOptions } from '../ops/conv3d.ts';
import { add, concat, detach, resize, scale, softNormalize, warp } from '../ops/index.ts';
import { kaimingUniform, normal, Parameters, zeros } from './parameters.ts';
import { type LevelImages, lnccDisplacementForce } from './variational.ts';

interface Layer {
  weight: Tensor;
  bias: Tensor;
}

/** Channels that the network sees: u (3), the similarity's force (3), fixed and warped (1 each). */
const INPUTS = 8;
/** The force enters as a step of at most this length, in voxels: the same size on every volume and level. */
const FORCE = { limit: 1, softness: 0.3 };
/** Displacements enter in units of this many voxels. */
const DISPLACEMENT = 4;
const LAST_SD = 1e-3;

/** The cell's weights, named and shaped as the same modules in PyTorch would be; `channels` is the width at full resolution. */
export class DeqregWeights {
  readonly parameters: Parameters;
  readonly layers: Record<'enter' | 'full' | 'down' | 'half' | 'join' | 'leave', Layer>;

  constructor(graph: Graph, channels: number) {
    if (!Number.isInteger(channels) || channels < 1) throw new Error(`deqreg: channels must be a whole number above 0, got ${channels}`);
    this.parameters = new Parameters(graph);
    const layer = (name: string, from: number, to: number, initial = kaimingUniform()): Layer => ({
      weight: this.parameters.declare(`${name}.weight`, [to, from, 3, 3, 3], initial),
      bias: this.parameters.declare(`${name}.bias`, [to], zeros),
    });
    this.layers = {
      enter: layer('enter', INPUTS, channels),
      full: layer('full', channels, channels),
      down: layer('down', channels, 2 * channels),
      half: layer('half', 2 * channels, 2 * channels),
      join: layer('join', 3 * channels, channels),
      leave: layer('leave', channels, 3, normal(LAST_SD)),
    };
  }

  /** All weights, in the order in which they were declared. */
  get tensors(): Tensor[] {
    return [...this.parameters.tensors.values()];
  }
}

const convolve = (x: Tensor, { weight, bias }: Layer, options: ConvOptions = {}): Tensor =>
  conv3d(x, weight, bias, { padding: 'replicate', activation: 'leakyRelu', slope: 0.2, ...options });

/**
 * The map u ↦ u + net(…), u [1, 3, D, H, W] in voxels. `moving` is the level's moving image itself, centred, on its grid, beside
 * `images` for the force. The force is a constant to the gradient (its Jacobian is left out): right for `jfb`; `implicit` and `unrolled`
 * agree with each other, and differ from finite differences by what is left out.
 */
export function deqregCell(images: LevelImages, moving: Tensor, { layers }: DeqregWeights) {
  return (u: Tensor): Tensor => {
    const still = detach(u);
    const force = softNormalize(lnccDisplacementForce(images, still).force, FORCE.limit, FORCE.softness, images.ratios);
    const warped = warp(moving, u, images.matrix);
    const seen = concat(scale(u, 1 / DISPLACEMENT), detach(force), images.fixed.image, warped);
    const full = convolve(convolve(seen, layers.enter), layers.full);
    const half = convolve(convolve(full, layers.down, { stride: 2 }), layers.half);
    const up = resize(half, full.shape.slice(2) as [number, number, number]);
    const step = convolve(convolve(concat(up, full), layers.join), layers.leave, { activation: 'none' });
    return add(u, step);
  };
}
