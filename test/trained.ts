// Models for tests, made by hand: the last layer takes the similarity's step as it is, times a gain, and no other weight counts.
import { cells, Graph, type Model, type ModelCard } from '../src/index.ts';

const CHANNELS = 4;

/** v = gain · step, smoothed and limited: nearly the classical cell. With a gain of 0 nothing moves. */
export function handMade(gain: number, more: Partial<Model> = {}): Model {
  const { parameters } = cells.deqreg(new Graph(), { channels: CHANNELS, similarity: 'exact' });
  const values = new Map(parameters.initial(1));
  for (const [name, { shape, data }] of values) if (name.startsWith('leave')) values.set(name, { shape, data: data.map(() => 0) });
  const { data } = values.get('leave.weight')!;
  for (let c = 0; c < 3; c++) data[(c * (CHANNELS + 3) + CHANNELS + c) * 27 + 13] = gain; // [3, channels + 3, 3, 3, 3], the centre tap
  return { cell: 'deqreg', channels: CHANNELS, window: 9, modality: 'mri', values, ...more };
}

export const card: ModelCard = {
  name: 'hand-made',
  summary: 'The step of the similarity, by hand.',
  data: 'none',
  licence: 'none needed',
  command: 'none',
  seed: 1,
  steps: 0,
  adjoint: 'none',
  evaluations: 24,
  adapter: 'none',
  hours: 0,
  date: '2026-01-01',
  version: '0.1.0',
  validation: { dice: 0.5, pairs: ['a', 'b'] },
};
