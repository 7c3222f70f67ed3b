// What of a registration speaks against its result, in sentences for people.
import { LEAST_SHARED, NEGLIGIBLE } from './overlap.ts';
import type { Registration } from './register.ts';

/** Mean LNCC below which two images have next to nothing in common, and a loss of it that is none. */
const ALIKE = 0.05;
const ROUNDING = 0.005;

/** Values that differ by fewer steps of float32 have lost their contrast. */
const LEAST_STEPS = 100;
/** Of float32: its step at 1, and its smallest normal number. */
const [EPSILON, SMALLEST] = [2 ** -23, 2 ** -126];

/** Share of the fixed grid below which an alignment leads away from what the headers say. */
const LEFT = 0.8;

/** A turn, degrees, that people in a scanner do not differ by. */
const TURNED = 45;

/**
 * What speaks against a result; `covered` is the share of the fixed grid that lies in the moving image at the start, `turn` the angle in
 * degrees that the alignment turned it by from there.
 */
export function doubts(
  {
    coverage,
    similarity: { before, after },
    intensities,
    levels,
    affine,
  }: Pick<Registration, 'coverage' | 'similarity' | 'intensities' | 'levels' | 'affine'>,
  { covered, turn }: { covered: number; turn: number },
) {
  const kinds = [intensities.fixed.modality, intensities.moving.modality].map((kind) => kind.toUpperCase());
  const coarse = Object.entries(intensities).filter(
    ([, { low, high }]) => !(high - low > LEAST_STEPS * EPSILON * Math.max(Math.abs(low), Math.abs(high), SMALLEST / EPSILON)),
  );
  const astray = levels.find(({ result }) => result === 'diverged' || result === 'non-finite');
  return [
    ...(kinds[0] === kinds[1]
      ? []
      : [
          `the fixed image is taken for ${kinds[0]}, the moving one for ${kinds[1]}, by their values: LNCC compares images of one kind; name the modality`,
        ]),
    ...coarse.map(
      ([name, { low, high }]) =>
        `the ${name} image's values, ${low} to ${high}, differ by less than ${LEAST_STEPS} steps of float32, in which they are held: subtract what they share, or scale them`,
    ),
    ...(affine.requested === 'auto' && covered > 1 - NEGLIGIBLE && coverage < LEFT
      ? [
          `the alignment takes ${(100 * (1 - coverage)).toFixed(0)} % of the fixed grid out of the moving image, which covered all of it by the headers: look at it, and compare affine 'none'`,
        ]
      : []),
    ...(affine.requested === 'auto' && turn > TURNED
      ? [`the alignment turns the moving image by ${turn.toFixed(0)}° from where the headers put it: look at it, and compare affine 'none'`]
      : []),
    ...(coverage < LEAST_SHARED
      ? [`${(100 * coverage).toFixed(0)} % of the fixed grid lies in the moving image: hardly anything was compared`]
      : []),
    ...(after < before - ROUNDING ? [`the images are less alike than before: LNCC ${before.toFixed(3)} → ${after.toFixed(3)}`] : []),
    ...(after < ALIKE ? [`the images have next to nothing in common: LNCC ${after.toFixed(3)}`] : []),
    ...(astray ? [`the level at 1/${astray.factor} resolution is ${astray.result}`] : []),
  ];
}
