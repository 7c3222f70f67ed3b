// The learned cell: f(u) = u + net(u, force, fixed, warped), a small U-Net. Our reconstruction of DEQReg (arXiv 2507.00582): two
// resolutions, leaky ReLU 0.2, and a last layer that starts small but not at zero (with zero every field would be a fixed point).
import type { Graph } from '../graph/graph.ts';
import { add, concat, resize, scale } from '../ops/index.ts';
import { type Cell, type CellOptions, checkCell, convolve, layer, type LevelImages, similarityStep, storedAs } from './cell.ts';
import { normal, Parameters } from './parameters.ts';

/** Channels that the network sees: u (3), the similarity's step (3), fixed and warped (1 each). */
const INPUTS = 8;
/** Displacements enter in units of this many voxels. */
const DISPLACEMENT = 4;
const LAST_SD = 1e-3;

/** Declares the cell's weights on a graph: `channels` at full resolution, twice as many at half. */
export function deqreg(graph: Graph, options: CellOptions): Cell {
  checkCell('deqreg', options);
  const { channels, similarity, dtype } = options;
  const parameters = new Parameters(graph);
  const enter = layer(parameters, 'enter', INPUTS, channels),
    full = layer(parameters, 'full', channels, channels),
    down = layer(parameters, 'down', channels, 2 * channels),
    coarse = layer(parameters, 'coarse', 2 * channels, 2 * channels),
    join = layer(parameters, 'join', 3 * channels, channels),
    leave = layer(parameters, 'leave', channels, 3, normal(LAST_SD));
  const network = storedAs(dtype, (seen) => {
    const fine = convolve(convolve(seen, enter), full);
    const up = resize(convolve(convolve(fine, down, { stride: 2 }), coarse), fine.shape.slice(2) as [number, number, number]);
    return convolve(convolve([up, fine], join), leave, { activation: 'none' });
  });
  return {
    parameters,
    update: (images: LevelImages) => (u) => {
      const { step, warped } = similarityStep(images, u, similarity);
      return add(u, network(concat(scale(u, 1 / DISPLACEMENT), step, images.fixed.image, warped)));
    },
  };
}
