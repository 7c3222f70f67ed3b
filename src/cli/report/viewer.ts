// The two tables of pictures, on shared slices: images (a plane a row) and deformation (a plane a column).
import type { Pictures } from './content.ts';
import { div, element, section, short } from './dom.ts';
import { checkerboard, difference, diverging, FOLD, type Frame, grey, grid, logJacobian, outlined, OUTLINES, type Paint } from './draw.ts';
import { foreground, type Plane, planes, type Volumes } from './slices.ts';

/** CSS pixels of a picture, at most. */
const WIDTH = 288,
  HEIGHT = 340;
/** Grid lines along the longest edge, about. */
const LINES = 20;

export function viewer(pictures: Pictures, volumes: Volumes): HTMLElement[] {
  const { size, spacing, axes, levels, step, logRange, logSteps } = pictures;
  const box = foreground([volumes.fixed, volumes.moving, volumes.warped], levels);
  const extent = ([low, high]: [number, number]) => high - low;
  const shown = planes.filter(({ across, up }) => size[across] > 1 && size[up] > 1);
  const scale = Math.min(...shown.flatMap(({ across, up }) => [WIDTH / extent(box[across]), HEIGHT / extent(box[up])]));
  const frames = new Map<Plane, Frame>(shown.map((plane) => [plane, { across: box[plane.across], up: box[plane.up], scale }]));
  /** Voxels along right, anterior, superior; the sagittal one beside the middle, where a brain has its cleft. */
  const position = box.map(([low, high], axis) => Math.floor((low + (axis === 0 ? 0.4 : 0.5) * (high - low)) / spacing[axis]));

  const [fixed, moving, warped] = [volumes.fixed, volumes.moving, volumes.warped].map((cells) => grey(cells, levels));
  const lines = nice(Math.max(...box.map(extent)) / LINES);
  const differences = {
    after: difference(volumes.fixed, volumes.warped, levels),
    before: difference(volumes.fixed, volumes.moving, levels),
  };
  const outlines = [
    ...(volumes.fixedLabels ? [[volumes.fixedLabels, OUTLINES.fixed] as const] : []),
    ...(volumes.warpedLabels ? [[volumes.warpedLabels, OUTLINES.warped] as const] : []),
  ];
  const mode = { checkerboard: false, difference: 'after' as keyof typeof differences, outlines: false };
  const board = checkerboard(fixed, warped);
  const labelled =
    (paint: () => Paint): Paint =>
    (...to) =>
      (mode.outlines ? outlined(paint(), outlines) : paint())(...to);
  const columns: [() => string, Paint][] = [
    [() => 'Fixed', labelled(() => fixed)],
    [() => 'Moving', moving],
    [() => (mode.checkerboard ? 'Checkerboard: fixed, warped' : 'Warped'), labelled(() => (mode.checkerboard ? board : warped))],
    [() => `Fixed − ${mode.difference === 'after' ? 'warped' : 'moving'}`, (...to) => differences[mode.difference](...to)],
  ];
  const deformed = grid(warped, volumes.displacement, step, lines);
  const jacobian = logJacobian(volumes.logJacobian, logSteps);

  const redraws: (() => void)[] = [];
  const mirrors: ((on: boolean) => void)[] = [];
  const redraw = () => redraws.forEach((draw) => draw());
  const picture = (plane: Plane, paint: Paint, label: string, tone = 'dark') => {
    const at = () => (position[plane.through] + 0.5) * spacing[plane.through];
    const { view, draw, mirror } = canvas(plane, frames.get(plane)!, paint, label, at);
    redraws.push(draw);
    if (plane.across === 0) mirrors.push(mirror);
    view.classList.add(tone);
    return view;
  };
  const slider = (plane: Plane) => {
    const { letter, flip } = axes[plane.through],
      last = size[plane.through] - 1;
    const input = element('input', { type: 'range', min: '0', max: String(last), ariaLabel: `${plane.name} slice` });
    const text = element('output');
    input.oninput = () => {
      position[plane.through] = Number(input.value);
      redraw();
    };
    redraws.push(() => {
      const voxel = position[plane.through];
      input.value = String(voxel);
      text.textContent = `${letter} = ${flip ? last - voxel : voxel} of 0–${last}`;
    });
    return div('slider', element('strong', {}, plane.name), input, text);
  };

  const heads = columns.map(([title]) => {
    const head = element('h3');
    redraws.push(() => {
      head.textContent = title();
    });
    return head;
  });
  const choice = (change: (on: boolean) => void, ...label: (string | Node)[]) => {
    const box = element('input', { type: 'checkbox' });
    box.onchange = () => {
      change(box.checked);
      redraw();
    };
    return element('label', {}, box, element('span', {}, ...label));
  };
  const named = ([cells, colour]: (typeof outlines)[number]) =>
    element('span', {}, ' ', swatch(colour), cells === volumes.fixedLabels ? ' fixed' : ' warped');
  const options = div(
    'options',
    ...(outlines.length ? [choice((on) => (mode.outlines = on), 'outlines of labels:', ...outlines.map(named))] : []),
    choice((on) => (mode.checkerboard = on), 'checkerboard of fixed and warped in place of warped'),
    choice((on) => (mode.difference = on ? 'before' : 'after'), 'difference before registration'),
    choice((on) => mirrors.forEach((mirror) => mirror(on)), 'radiological: patient’s left on the right'),
    element('span', {}, colourBar('−½', '½', 'of the range of greys')),
  );

  const images = section(
    'Images',
    imageNote(pictures),
    options,
    div('pictures', ...heads),
    ...shown.flatMap((plane) => [
      slider(plane),
      linked(
        div(
          'pictures',
          ...columns.map(([title, paint], n) => picture(plane, paint, `${plane.name}, ${title()}`, n === 3 ? 'light' : 'dark')),
        ),
      ),
    ]),
  );

  const folds = volumes.logJacobian.codes.reduce((sum, code) => sum + Number(code === 0), 0);
  const cells = volumes.logJacobian.spacing.map(short).join(' × ');
  const deformation = section(
    'Deformation',
    'On the slices chosen above or here.',
    div('pictures', ...shown.map((plane) => slider(plane)), div('')),
    div(
      'pictures',
      ...shown.map((plane) => linked(picture(plane, deformed, `${plane.name}, deformed grid`))),
      div(
        'legend',
        element('h3', {}, 'Deformed grid'),
        element(
          'p',
          {},
          `On the warped image. A grid of ${short(lines)} mm on the moving image, warped as the image is: lines where p + u(p) is a multiple of ${short(lines)} mm. Motion through the plane does not show.`,
        ),
      ),
    ),
    div(
      'pictures',
      ...shown.map((plane) => linked(picture(plane, jacobian, `${plane.name}, log Jacobian`, 'light'))),
      div(
        'legend',
        element('h3', {}, 'log J, J = det(I + ∇u)'),
        colourBar(`−${logRange}`, `${logRange}`, ''),
        element(
          'p',
          {},
          'Red: a voxel of the fixed image comes from a larger volume of the moving image; blue: from a smaller one. ±0.69 is a factor of two.',
        ),
        element(
          'p',
          {},
          swatch(FOLD),
          ` fold: a cell with a voxel of J ≤ 0. ${folds === 0 ? 'There is none in the whole grid.' : `${folds} of ${volumes.logJacobian.codes.length} cells in the whole grid.`}`,
        ),
        element('p', {}, `Mean J of cells of ${cells} mm; folds are found at full resolution.`),
      ),
    ),
  );
  redraw();
  return [images, deformation];
}

function imageNote({ size, spacing, fixed, fixedLabels, warpedLabels }: Pictures): string {
  const labels = fixedLabels ?? warpedLabels;
  const full = size.every((n, axis) => n === fixed.size[axis]);
  const voxels = (mm: number[]) => `${mm.map(short).join(' × ')} mm`;
  return (
    `On the fixed grid, ${size.join(' × ')} voxels of ${voxels(spacing)} along right, anterior, superior, cut to the foreground and shown ` +
    (full ? 'at full resolution' : `at ${voxels(fixed.spacing)} (means), to keep this file small`) +
    ', each image in the intensity window in which it was compared, and a tenth more. The moving image is resampled through the affines of the two files alone; differences are grey where it has no voxels. ' +
    (labels ? `Labels are outlined at ${voxels(labels.spacing)}. ` : '') +
    'Letters name the nearest anatomical direction; the patient’s left is on the left unless chosen otherwise. Move over a picture to find the same place in the others.'
  );
}

/** A canvas with its letters and the linked cursor. */
function canvas(plane: Plane, frame: Frame, paint: Paint, label: string, at: () => number) {
  const [width, height] = [frame.across, frame.up].map(([low, high]) => Math.round((high - low) * frame.scale));
  const ratio = Math.max(1, window.devicePixelRatio);
  const made = element('canvas', { width: Math.round(width * ratio), height: Math.round(height * ratio), role: 'img', ariaLabel: label });
  made.style.width = `${width}px`;
  made.style.height = `${height}px`;
  const context = made.getContext('2d')!;
  const [left, right, bottom, top] = plane.letters;
  const letter = (text: string, edge: string) => element('span', { className: `letter ${edge}` }, text);
  const sides = [letter(left, 'left'), letter(right, 'right')] as const;
  const view = div('picture', made, ...sides, letter(bottom, 'bottom'), letter(top, 'top'), div('cursor'));
  view.style.width = `${width}px`;
  const draw = () => {
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = '#000';
    context.fillRect(0, 0, width, height);
    paint(context, frame, plane, at());
  };
  const mirror = (on: boolean) => {
    made.style.transform = on ? 'scaleX(-1)' : '';
    sides.forEach((side, n) => (side.textContent = [left, right][on ? 1 - n : n]));
  };
  return { view, draw, mirror };
}

/** Shows the cursor over any picture of this element in all of them. */
function linked(pictures: HTMLElement): HTMLElement {
  pictures.onmousemove = ({ clientX, clientY, target }) => {
    const over = (target as HTMLElement).closest?.('.picture')?.getBoundingClientRect();
    pictures.classList.toggle('pointed', Boolean(over));
    if (!over) return;
    pictures.style.setProperty('--x', `${clientX - over.left}px`);
    pictures.style.setProperty('--y', `${clientY - over.top}px`);
  };
  pictures.onmouseleave = () => pictures.classList.remove('pointed');
  return pictures;
}

function colourBar(low: string, high: string, unit: string): HTMLElement {
  const stops = Array.from(
    { length: 21 },
    (_, n) =>
      `rgb(${diverging(n / 10 - 1)
        .map(Math.round)
        .join(' ')})`,
  );
  const bar = div('bar');
  bar.style.background = `linear-gradient(to right, ${stops.join(', ')})`;
  return div('colours', low, bar, high, unit && ` ${unit}`);
}

const swatch = (colour: string) => {
  const made = element('i', { className: 'swatch' });
  made.style.background = colour;
  return made;
};

/** The nearest of 1, 2, 5 times a power of ten. */
function nice(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).reduce((a, b) => (Math.abs(b - value) < Math.abs(a - value) ? b : a));
}
