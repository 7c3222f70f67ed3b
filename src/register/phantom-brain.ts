import { coverage, ellipsoid, tubeDistance, Waves, type Anatomy, type Tube } from './phantom-shapes.ts';

/** T1-like intensities. */
const csf = 42,
  greyMatter = 112,
  whiteMatter = 172;

/** Lateral ventricle, left: frontal horn, body, atrium, temporal and occipital horn; x lateral, y superior, z anterior. */
const ventricle: Tube[] = [
  { ax: 9, ay: 12, az: 38, bx: 8, by: 20, bz: 18, ra: 4.5, rb: 5.5 },
  { ax: 8, ay: 20, az: 18, bx: 12, by: 22, bz: -16, ra: 5.5, rb: 5.5 },
  { ax: 12, ay: 22, az: -16, bx: 24, by: 8, bz: -36, ra: 5.5, rb: 6.5 },
  { ax: 24, ay: 8, az: -36, bx: 34, by: -14, bz: -8, ra: 6, rb: 2.5 },
  { ax: 24, ay: 8, az: -36, bx: 20, by: 8, bz: -54, ra: 5.5, rb: 2 },
];

const brainstem: Tube[] = [
  { ax: 0, ay: -4, az: -12, bx: 0, by: -34, bz: -20, ra: 11, rb: 14 },
  { ax: 0, ay: -34, az: -20, bx: 0, by: -68, bz: -30, ra: 13, rb: 8 },
];

/** Deep nuclei: FreeSurfer label left and right, intensity, centre (x lateral) and semi-axes in mm. */
const nuclei = [
  { left: 10, right: 49, value: 142, x: 11, y: 5, z: -8, a: 8.5, b: 8.5, c: 14 }, // thalamus
  { left: 11, right: 50, value: 116, x: 16, y: 13, z: 22, a: 5, b: 9, c: 14 }, // caudate
  { left: 12, right: 51, value: 128, x: 27, y: 2, z: 10, a: 6, b: 11, c: 18 }, // putamen
];

/**
 * A skull-stripped T1-like brain in a field of view of 160×192×224 mm, axes left, inferior, anterior, labelled as FreeSurfer does: cerebral
 * white matter 2 and 41, cortex 3 and 42, lateral ventricles 4 and 43, cerebellum 7 8 46 47, deep nuclei 10 11 12 49 50 51, third
 * ventricle 14, brainstem 16. Folds and ribbon never get thinner than the voxel (mm) can show.
 */
export function brainAnatomy(random: () => number, voxel: number): Anatomy {
  const coarse = Math.max(1, voxel / 2);
  const folds = new Waves(random, 8, 14 * coarse),
    depths = new Waves(random, 5, 40),
    texture = new Waves(random, 6, 9 * coarse);
  const ribbon = 3.2 * coarse,
    sulcus = 0.8;
  const growth = 1.6 * random() - 0.4; // of the ventricles, mm

  const anatomy: Anatomy = { value: 0, label: 0, at };
  return anatomy;

  /** Lays a structure over what is there, by its signed distance. */
  function lay(distance: number, value: number, label: number): void {
    anatomy.value += (value - anatomy.value) * coverage(distance, voxel);
    if (distance > 0) anatomy.label = label;
  }

  function at(x: number, j: number, z: number): void {
    const y = -j,
      side = Math.abs(x),
      left = x > 0;
    anatomy.value = 0;
    anatomy.label = 0;

    // Cerebrum: a dome with a flatter underside, and the temporal lobes; the crease between them is the Sylvian fissure.
    const dome = ellipsoid(x, y - 12, z, 70 - 0.07 * z, y > 12 ? 66 : 50, 88);
    const temporal = ellipsoid(side - 40, y + 22, z - 10 - 0.25 * (y + 22), 26, 23, 42);
    const cerebrum = Math.max(dome, temporal);
    const cerebellum = ellipsoid(side - 21, y + 46, z + 46, 30, 22, 29);
    if (cerebrum < -4 && cerebellum < -4 && y > -30) return;

    if (cerebrum > -4) layCerebrum(x, y, z, side, left, cerebrum, Math.max(dome, 0));
    if (cerebellum > -4) layCerebellum(y, z, left, cerebellum);
    lay(Math.max(tubeDistance(x, y, z, brainstem[0]), tubeDistance(x, y, z, brainstem[1])), 160, 16);
    if (cerebrum < 8) return;
    for (const n of nuclei) lay(ellipsoid(side - n.x, y - n.y, z - n.z, n.a, n.b, n.c), n.value, left ? n.left : n.right);
    lay(ellipsoid(x, y - 2, z + 6, 2.6, 9, 15), csf, 14);
    let chamber = -Infinity;
    for (const tube of ventricle) chamber = Math.max(chamber, tubeDistance(side, y, z, tube));
    lay(chamber + growth, csf - 8, left ? 4 : 43);
  }

  function layCerebrum(x: number, y: number, z: number, side: number, left: boolean, hull: number, dome: number): void {
    lay(hull, csf, 0);
    const shade = texture.at(x, y, z);
    const cortex = hull < 36 ? cortexDepth(x, y, z, side, hull) : ribbon + voxel;
    lay(cortex, greyMatter + 2 * shade, left ? 3 : 42);
    lay(Math.min(cortex - ribbon, dome + 30), whiteMatter + 1.5 * shade, left ? 2 : 41);
  }

  /** Depth below the surface of the cortex, sulci and fissures included. */
  function cortexDepth(x: number, y: number, z: number, side: number, hull: number): number {
    // Sulci: sheets where a random function on the surface is zero, carried inwards along the radius to a varying depth.
    const radius = Math.sqrt((x / 70) ** 2 + ((y - 4) / 60) ** 2 + (z / 88) ** 2);
    const outward = 1 / Math.sqrt(Math.max(radius, 0.3));
    const wobble = 3.5 * Math.sin(0.2 * hull + 0.09 * z);
    const sheet = folds.zeroDistance(x * outward + wobble, (y - 4) * outward - wobble, z * outward) / outward - sulcus;
    const below = hull - 16 - 2.5 * depths.at(x, y, z);
    const toSulcus = below > 0 ? Math.hypot(Math.max(sheet, 0), below) : sheet;
    // The hemispheres part above the corpus callosum and around it.
    const core = ellipsoid(x, y - 6, z + 2, 40, 25, 46);
    const toFissure = core > 0 ? Math.hypot(side, core) : side - 0.9;
    // The Sylvian fissure parts the temporal lobe from the rest, down to the insula.
    const inward = Math.max(0, 36 - side, Math.abs(z - 8) - 44);
    const toSylvian = Math.hypot(inward, y + 8 - 0.3 * z + 5 * Math.cos(0.1 * side)) - 1;
    return Math.min(hull, toSulcus, toFissure, toSylvian);
  }

  function layCerebellum(y: number, z: number, left: boolean, hull: number): void {
    // Folia fan out around the middle of the cerebellum; its white matter branches towards them.
    const notch = Math.cos(18 * Math.atan2(y + 44, z + 26));
    const folia = hull - Math.max(0, 2.2 * (notch - 0.35));
    lay(hull, csf, 0);
    lay(folia, greyMatter - 6, left ? 8 : 47);
    lay(folia - (9 + 5 * notch), whiteMatter - 12, left ? 7 : 46);
  }
}
