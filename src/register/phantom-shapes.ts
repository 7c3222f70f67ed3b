// Shapes that the phantoms are built of. Lengths in mm; signed distances are positive inside.

/** What a phantom's anatomy is at a point: one call fills `value` (intensity) and `label`, so that no voxel allocates. */
export interface Anatomy {
  value: number;
  label: number;
  /** Evaluates the anatomy at a point, in mm from the centre of the field of view along (i, j, k). */
  at(x: number, y: number, z: number): void;
}

/** Approximate signed distance to an ellipsoid centred at the origin, with semi-axes (a, b, c). */
export function ellipsoid(x: number, y: number, z: number, a: number, b: number, c: number): number {
  const px = x / a,
    py = y / b,
    pz = z / c;
  const k0 = Math.sqrt(px * px + py * py + pz * pz);
  const qx = px / a,
    qy = py / b,
    qz = pz / c;
  const k1 = Math.sqrt(qx * qx + qy * qy + qz * qz);
  return k1 > 0 ? (k0 * (1 - k0)) / k1 : Math.min(a, b, c);
}

/** A tube from one point to another, its radius going linearly from one end to the other. */
export interface Tube {
  ax: number;
  ay: number;
  az: number;
  bx: number;
  by: number;
  bz: number;
  ra: number;
  rb: number;
}

/** Signed distance to a tube with round ends. */
export function tubeDistance(x: number, y: number, z: number, t: Tube): number {
  const ux = t.bx - t.ax,
    uy = t.by - t.ay,
    uz = t.bz - t.az;
  const along = ((x - t.ax) * ux + (y - t.ay) * uy + (z - t.az) * uz) / (ux * ux + uy * uy + uz * uz);
  const s = along < 0 ? 0 : along > 1 ? 1 : along;
  const px = x - t.ax - s * ux,
    py = y - t.ay - s * uy,
    pz = z - t.az - s * uz;
  return t.ra + s * (t.rb - t.ra) - Math.sqrt(px * px + py * py + pz * pz);
}

/** Share of a voxel of the given size that lies inside a surface at the given signed distance. */
export function coverage(distance: number, voxel: number): number {
  const share = 0.5 + distance / voxel;
  return share < 0 ? 0 : share > 1 ? 1 : share;
}

/** Smooth random function: a sum of plane waves. */
export class Waves {
  private readonly k: Float64Array;

  /** `count` waves with random directions and phases; zeros lie about `spacing` mm apart. */
  constructor(random: () => number, count: number, spacing: number) {
    this.k = new Float64Array(4 * count);
    for (let n = 0; n < count; n++) {
      const z = 2 * random() - 1,
        angle = 2 * Math.PI * random(),
        r = Math.sqrt(1 - z * z);
      this.k.set(
        [r * Math.cos(angle), r * Math.sin(angle), z].map((x) => (x * Math.PI) / spacing),
        4 * n,
      );
      this.k[4 * n + 3] = 2 * Math.PI * random();
    }
  }

  at(x: number, y: number, z: number): number {
    const { k } = this;
    let value = 0;
    for (let n = 0; n < k.length; n += 4) value += Math.sin(k[n] * x + k[n + 1] * y + k[n + 2] * z + k[n + 3]);
    return value;
  }

  /** About the distance in mm to the nearest zero: |value| / |gradient|. */
  zeroDistance(x: number, y: number, z: number): number {
    const { k } = this;
    let value = 0,
      gx = 0,
      gy = 0,
      gz = 0;
    for (let n = 0; n < k.length; n += 4) {
      const phase = k[n] * x + k[n + 1] * y + k[n + 2] * z + k[n + 3];
      const slope = Math.cos(phase);
      value += Math.sin(phase);
      gx += slope * k[n];
      gy += slope * k[n + 1];
      gz += slope * k[n + 2];
    }
    return Math.abs(value) / (Math.sqrt(gx * gx + gy * gy + gz * gz) + 1e-6);
  }
}
