// One picture on one canvas: grey slices, differences, checkerboard, deformed grid, log Jacobian.
import { OUTSIDE } from './content.ts';
import { type Cells, cut, type Plane, type Slice } from './slices.ts';

/** Where a plane is seen: its box in mm on the two axes, and CSS pixels per mm. */
export interface Frame {
  across: [number, number];
  up: [number, number];
  scale: number;
}

export type Paint = (context: CanvasRenderingContext2D, frame: Frame, plane: Plane, at: number) => void;

type Colour = readonly [number, number, number];
const BLUE: Colour = [33, 102, 172],
  WHITE: Colour = [247, 247, 247],
  RED: Colour = [178, 24, 43];
const NOTHING: Colour = [214, 214, 214];
export const FOLD = '#000';
/** Outlines of the fixed labels, and of the warped ones. */
export const OUTLINES = { fixed: '#35d0ff', warped: '#ffb020' };
const SQUARES = 8;

/** −1 blue, 0 white, 1 red. */
export function diverging(value: number): Colour {
  const share = Math.min(Math.abs(value), 1),
    end = value < 0 ? BLUE : RED;
  return [0, 1, 2].map((c) => WHITE[c] + share * (end[c] - WHITE[c])) as unknown as Colour;
}

export const grey =
  (cells: Cells, levels: number): Paint =>
  (context, frame, plane, at) =>
    put(context, frame, cut(cells, plane, at), (code) => grade(code === OUTSIDE ? 0 : code / levels));

const grade = (share: number): Colour => {
  const value = 255 * Math.min(share, 1) ** 0.9;
  return [value, value, value];
};

/** Fixed − other, both in their windows; full colour at half the range of greys, none where the other image has no voxels. */
export const difference =
  (fixed: Cells, other: Cells, levels: number): Paint =>
  (context, frame, plane, at) => {
    const a = cut(fixed, plane, at),
      b = cut(other, plane, at);
    put(context, frame, a, (code, n) => (b.codes[n] === OUTSIDE ? NOTHING : diverging((2 * (code - b.codes[n])) / levels)));
  };

/** A picture with outlines of label maps on it: the edges of cells between which the label changes. */
export const outlined =
  (under: Paint, maps: readonly (readonly [labels: Cells, colour: string])[]): Paint =>
  (context, frame, plane, at) => {
    under(context, frame, plane, at);
    for (const [labels, colour] of maps) {
      const slice = cut(labels, plane, at);
      const { left, top, width, height } = placed(frame, slice);
      const [w, h] = [width / slice.width, height / slice.height];
      const edges = new Path2D();
      slice.codes.forEach((code, n) => {
        const column = n % slice.width,
          row = (n - column) / slice.width;
        const [x, y] = [left + column * w, top + row * h];
        if (column > 0 && slice.codes[n - 1] !== code) (edges.moveTo(x, y), edges.lineTo(x, y + h));
        if (row > 0 && slice.codes[n - slice.width] !== code) (edges.moveTo(x, y), edges.lineTo(x + w, y));
      });
      context.strokeStyle = colour;
      context.lineWidth = 1;
      context.stroke(edges);
    }
  };

export const checkerboard =
  (one: Paint, other: Paint): Paint =>
  (context, frame, plane, at) => {
    one(context, frame, plane, at);
    const [width, height] = [frame.across, frame.up].map(([low, high]) => (high - low) * frame.scale);
    const edge = Math.max(width, height) / SQUARES;
    const squares = new Path2D();
    for (let y = 0; y * edge < height; y++)
      for (let x = 1 - (y % 2); x * edge < width; x += 2) squares.rect(x * edge, y * edge, edge, edge);
    context.save();
    context.clip(squares);
    other(context, frame, plane, at);
    context.restore();
  };

/** log J, at full colour where the code is `steps` away from 128; cells with a fold are marked, at least 3 pixels wide. */
export const logJacobian =
  (cells: Cells, steps: number): Paint =>
  (context, frame, plane, at) => {
    const slice = cut(cells, plane, at);
    put(context, frame, slice, (code) => diverging(code ? (code - 128) / steps : 0));
    context.fillStyle = FOLD;
    const { left, top, width, height } = placed(frame, slice);
    const [w, h] = [width / slice.width, height / slice.height];
    slice.codes.forEach((code, n) => {
      if (code) return;
      const x = left + ((n % slice.width) + 0.5) * w,
        y = top + (Math.floor(n / slice.width) + 0.5) * h;
      const [wide, high] = [Math.max(w, 3), Math.max(h, 3)];
      context.fillRect(x - wide / 2, y - high / 2, wide, high);
    });
  };

/** A regular grid of the moving image, warped as it is: lines where p + u(p) is a multiple of `spacing` mm on one of the plane's axes. */
export const grid =
  (under: Paint, displacement: Cells[], step: number, spacing: number): Paint =>
  (context, frame, plane, at) => {
    under(context, frame, plane, at);
    context.fillStyle = '#0006';
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    const ratio = context.getTransform().a,
      pixel = 1 / (frame.scale * ratio); // mm
    const { width, height } = context.canvas;
    const layer = context.createImageData(width, height);
    const axes = [plane.across, plane.up].map((axis) => cut(displacement[axis], plane, at));
    const shift = (slice: Slice, x: number, y: number) => step * (bilinear(slice, x, y) - 128);
    /** p + u(p) for the pixels of a row; rows go down, up goes up. */
    const row = (line: number) =>
      axes.map((slice, axis) =>
        Float64Array.from({ length: width + 1 }, (_, column) => {
          const x = frame.across[0] + (column + 0.5) * pixel,
            y = frame.up[1] - (line + 0.5) * pixel;
          return (axis ? y : x) + shift(slice, (x / slice.mm[0]) * slice.width, (1 - y / slice.mm[1]) * slice.height);
        }),
      );
    let here = row(0);
    for (let line = 0, n = 3; line < height; line++) {
      const below = row(line + 1);
      for (let column = 0; column < width; column++, n += 4) {
        let opacity = 0;
        for (let axis = 0; axis < 2; axis++) {
          const value = here[axis][column];
          const slope = Math.hypot(here[axis][column + 1] - value, below[axis][column] - value);
          const away = Math.abs(value - spacing * Math.round(value / spacing)) / slope; // pixels
          opacity = Math.max(opacity, Math.min(Math.max(0.5 + 0.4 * ratio - away, 0), 1));
        }
        layer.data.set([255, 205, 90], n - 3);
        layer.data[n] = 235 * opacity;
      }
      here = below;
    }
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext('2d')!.putImageData(layer, 0, 0);
    context.drawImage(canvas, 0, 0, width / ratio, height / ratio);
  };

/** Value at (x, y) in cells, centres at halves, the border repeated. */
function bilinear({ width, height, codes }: Slice, x: number, y: number): number {
  const u = Math.min(Math.max(x - 0.5, 0), width - 1),
    v = Math.min(Math.max(y - 0.5, 0), height - 1);
  const i = Math.min(Math.floor(u), width - 1),
    j = Math.min(Math.floor(v), height - 1);
  const right = i < width - 1 ? 1 : 0,
    down = j < height - 1 ? width : 0,
    n = j * width + i;
  const line = (at: number) => codes[at] + (u - i) * (codes[at + right] - codes[at]);
  return line(n) + (v - j) * (line(n + down) - line(n));
}

const placed = ({ across, up, scale }: Frame, { mm }: Slice) => ({
  left: -across[0] * scale,
  top: (up[1] - mm[1]) * scale,
  width: mm[0] * scale,
  height: mm[1] * scale,
});

/** Colours a slice cell by cell and draws it smoothly at its place. */
function put(context: CanvasRenderingContext2D, frame: Frame, slice: Slice, colour: (code: number, n: number) => Colour): void {
  const image = new ImageData(slice.width, slice.height);
  slice.codes.forEach((code, n) => {
    const [red, green, blue] = colour(code, n);
    image.data.set([red, green, blue, 255], 4 * n);
  });
  const canvas = new OffscreenCanvas(slice.width, slice.height);
  canvas.getContext('2d')!.putImageData(image, 0, 0);
  context.imageSmoothingQuality = 'high';
  const { left, top, width, height } = placed(frame, slice);
  context.drawImage(canvas, left, top, width, height);
}
