// A cell after GraDIRN (Qiu et al., MICCAI 2022, arXiv 2112.03915): f(u) = u + τ·step(u) − net(u, fixed, warped), a gradient step of the
// similarity with a learned length and a learned regulariser: five 3³ convolutions without normalisation, leaky ReLU 0.2.
import type { Graph } from '../graph/graph.ts';
import { add, concat, mul, scale, sub } from '../ops/index.ts';
import { type Cell, cellOf, type CellOptions, checkCell, convolve, layer, type LevelImages, similarityStep, storedAs } from './cell.ts';
import { constant, normal, Parameters } from './parameters.ts';

/** Channels that the network sees: u (3), fixed and warped (1 each). */
const INPUTS = 5;
/** Displacements enter in units of this many voxels. */
const DISPLACEMENT = 4;
const LAST_SD = 1e-3;
/** Length of a step at the start, in voxels. */
const TAU = 0.02;

/** Declares the cell's weights on a graph; `channels` is the width of the four hidden layers (32 in the paper). */
export function gradirn(graph: Graph, options: CellOptions): Cell {
  checkCell('gradirn', options);
  const { channels, similarity, dtype } = options;
  const parameters = new Parameters(graph);
  const tau = parameters.declare('tau', [1], constant(TAU));
  const hidden = [INPUTS, channels, channels, channels].map((from, i) => layer(parameters, `hidden.${i}`, from, channels));
  const leave = layer(parameters, 'leave', channels, 3, normal(LAST_SD));
  const network = storedAs(dtype, (seen) => {
    const features = hidden.reduce((x, next) => convolve(x, next), seen);
    return convolve(features, leave, { activation: 'none' });
  });
  return cellOf(parameters, (images: LevelImages) => (u) => {
    const { step, warped, similarity: monitor } = similarityStep(images, u, similarity);
    const regulariser = network(concat(scale(u, 1 / DISPLACEMENT), images.fixed.image, warped));
    return { next: sub(add(u, mul(step, tau)), regulariser), monitor };
  });
}
