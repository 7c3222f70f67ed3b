// ITK's text format for affine transforms (LPS mm, from fixed points to moving points), as ANTs and 3D Slicer read it.
import type { Affine } from './affine.ts';

/** The file's text for an affine in RAS mm. */
export function encodeItkAffine(ras: Affine): string {
  const sign = [-1, -1, 1];
  const lps = (i: number, j: number) => ras[4 * i + j]! * sign[i]! * (j < 3 ? sign[j]! : 1);
  const axes = [0, 1, 2];
  const parameters = [...axes.flatMap((i) => axes.map((j) => lps(i, j))), ...axes.map((i) => lps(i, 3))];
  return [
    '#Insight Transform File V1.0',
    '#Transform 0',
    'Transform: AffineTransform_double_3_3',
    `Parameters: ${parameters.map((x) => x + 0).join(' ')}`,
    'FixedParameters: 0 0 0',
    '',
  ].join('\n');
}
