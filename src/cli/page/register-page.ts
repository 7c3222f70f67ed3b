// The script of the page that `deqreg page` writes: whoever opens it chooses NIfTI files, which are registered right there, as the command
// does.
import { Gpu } from '../../gpu/device.ts';
import { parseLandmarks } from '../../io/landmarks.ts';
import { parseVolume } from '../../io/parse-volume.ts';
import type { Volume } from '../../io/volume.ts';
import { type AffineMode, affineModes } from '../../register/affine.ts';
import { phantom } from '../../register/phantom.ts';
import { type Progress, register } from '../../register/register.ts';
import { checkInputs, type Contents, type InputPaths } from '../inputs.ts';
import type { Write } from '../outputs.ts';
import { div, element } from '../report/dom.ts';
import { gzip, pack } from '../report/codec.ts';
import { deliver } from '../results.ts';
import { stageOf } from '../stages.ts';

type Role = Exclude<keyof InputPaths, 'initial'>;

/** The files that one chooses: what they are, and the option of `deqreg register` for them. */
const ROLES: Record<Role, { title: string; option: string }> = {
  fixed: { title: 'Fixed image', option: '--fixed' },
  moving: { title: 'Moving image', option: '--moving' },
  fixedSeg: { title: 'Fixed labels', option: '--fixed-seg' },
  movingSeg: { title: 'Moving labels', option: '--moving-seg' },
  fixedMask: { title: 'Fixed mask', option: '--fixed-mask' },
  movingMask: { title: 'Moving mask', option: '--moving-mask' },
  landmarks: { title: 'Landmarks, CSV', option: '--landmarks' },
};
const roles = Object.keys(ROLES) as Role[];

/** Voxels of the synthetic pair: small enough for a browser without a GPU. */
const SYNTHETIC = [64, 76, 90] as const;

const files = Object.fromEntries(roles.map((role) => [role, element('input', { type: 'file', id: role })])) as Record<
  Role,
  HTMLInputElement
>;
const affine = element(
  'select',
  { id: 'affine' },
  ...affineModes.map((mode) => element('option', { value: mode, selected: mode === 'auto' }, mode)),
);
const start = element('button', { id: 'register' }, 'Register');
const demonstrate = element('button', { id: 'synthetic' }, 'Register a synthetic pair');
const stop = element('button', { id: 'stop', disabled: true }, 'Stop');
const bar = element('progress', { max: 1, value: 0 });
const status = element('span', { id: 'status' });
const outcome = element('section');

const labelled = (title: string, control: HTMLElement) => element('label', {}, element('span', {}, title), control);
document.body.append(
  element(
    'main',
    {},
    element('h1', {}, 'deqreg'),
    element('p', {}, 'Deformable registration of two 3-D images. Everything is computed in this browser; no file leaves the computer.'),
    div('files', ...roles.map((role) => labelled(ROLES[role].title, files[role]))),
    element(
      'p',
      { className: 'note' },
      'NIfTI, .nii or .nii.gz. Fixed and moving image are needed, on any two grids; labels, masks and landmarks are not.',
    ),
    div('options', labelled('Alignment before the deformation', affine), start, demonstrate, stop),
    div('options', bar, status),
    outcome,
  ),
);

let opened: Gpu | undefined;
let running: AbortController | undefined;

/** The GPU of the run before, where it still works. */
async function openGpu(): Promise<Gpu> {
  try {
    opened?.check();
  } catch {
    opened = undefined;
  }
  if (!navigator.gpu)
    throw new Error('this browser offers no WebGPU here: Chrome, Edge and Safari 26 do, on a page that is a local file or comes by https');
  opened ??= await Gpu.open({ adapter: await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' }) });
  return opened;
}

const readVolume = async (file: File): Promise<Volume> => parseVolume(file.name, await file.arrayBuffer());

/** What the chosen files hold, and their names. */
async function chosen(): Promise<[InputPaths, Contents]> {
  const given = roles.flatMap((role) => [...(files[role].files ?? [])].map((file) => [role, file] as const));
  const paths = Object.fromEntries(given.map(([role, { name }]) => [role, name])) as Partial<Record<Role, string>>;
  const missing = (['fixed', 'moving'] as const).find((role) => !paths[role]);
  if (missing) throw new Error(`choose a ${missing} image`);
  if (paths.fixedSeg && !paths.movingSeg) throw new Error('choose moving labels too: Dice needs both label maps');
  const volumes = await Promise.all(
    given.filter(([role]) => role !== 'landmarks').map(async ([role, file]) => [role, await readVolume(file)] as const),
  );
  const contents = Object.fromEntries(volumes) as unknown as Contents;
  const table = files.landmarks.files?.[0];
  if (table) contents.landmarks = parseLandmarks(table.name, await table.text(), contents);
  return [paths as InputPaths, contents];
}

function synthetic(): [InputPaths, Contents] {
  const { fixed, moving, fixedSeg, movingSeg, landmarks } = phantom('brain', SYNTHETIC, 1);
  const paths = {
    fixed: 'fixed.nii.gz',
    moving: 'moving.nii.gz',
    fixedSeg: 'fixed_seg.nii.gz',
    movingSeg: 'moving_seg.nii.gz',
    landmarks: 'landmarks.csv',
  };
  return [paths, { fixed, moving, fixedSeg, movingSeg, landmarks }];
}

/** `deqreg register` from files to files: these are links, and the report is shown. */
async function run(read: () => [InputPaths, Contents] | Promise<[InputPaths, Contents]>): Promise<void> {
  const started = performance.now();
  const mode = affine.value as AffineMode;
  const { signal } = (running = new AbortController());
  const links = div('options');
  const warnings = element('div');
  const warn = (lines: readonly string[]) => warnings.append(...lines.map((line) => element('p', { className: 'warning' }, line)));
  const tell = (text: string, fraction?: number) => {
    status.textContent = text;
    if (fraction === undefined) bar.removeAttribute('value');
    else bar.value = fraction;
    return new Promise((shown) => setTimeout(shown)); // the browser draws before it goes on
  };
  const shown = element('iframe', { title: 'Report' });
  const write: Write = async (name, bytes) => {
    if (name === 'report.html') shown.srcdoc = bytes as string;
    const whole = new Blob([bytes as Uint8Array<ArrayBuffer> | string]);
    const blob = name.endsWith('.gz') ? new Blob([await gzip(whole)]) : whole;
    links.append(element('a', { href: URL.createObjectURL(blob), download: name }, name));
  };

  for (const { href } of outcome.querySelectorAll('a')) URL.revokeObjectURL(href);
  outcome.replaceChildren(warnings);
  await tell('reading');
  const [paths, contents] = await read();
  const inputs = checkInputs(paths, contents, undefined, mode);
  warn(inputs.warnings);
  const reading = performance.now();
  const gpu = await openGpu();
  const prepared = performance.now();
  const registration = await register(gpu, inputs.fixed, inputs.moving, { affine: mode, signal }, (progress: Progress) => {
    void tell(stageOf(progress), progress.fraction);
  });
  stop.disabled = true; // what is left has no place to end
  await tell('measuring', 1);
  const quoted = [...roles.flatMap((role) => (paths[role] ? [ROLES[role].option, paths[role]] : [])), '--out', 'result', '--affine', mode];
  const before = { read: (reading - started) / 1e3, prepare: (prepared - reading) / 1e3 };
  const { seconds } = await deliver(gpu, inputs, registration, { write, reported: { quoted, pack }, started, before, warn });
  shown.onload = () => {
    const { body } = shown.contentDocument!;
    new ResizeObserver(() => (shown.style.height = `${body.scrollHeight + 20}px`)).observe(body);
  };
  outcome.replaceChildren(links, shown);
  await tell(`done in ${seconds.total.toFixed(1)} s on ${gpu.info.description}`, 1);
}

/** Runs it, with the buttons as that allows; an error is told, not thrown. */
async function attempt(read: Parameters<typeof run>[0]): Promise<void> {
  const busy = (is: boolean) => {
    for (const control of [start, demonstrate, affine, ...Object.values(files)]) control.disabled = is;
    stop.disabled = !is;
  };
  busy(true);
  document.body.dataset.state = 'working';
  try {
    await run(read);
    document.body.dataset.state = 'done';
  } catch (error) {
    const stopped = running?.signal.aborted;
    bar.value = 0;
    status.textContent = stopped ? 'stopped' : '';
    if (!stopped) outcome.replaceChildren(element('p', { className: 'warning' }, (error as Error).message));
    document.body.dataset.state = 'failed';
  } finally {
    busy(false);
  }
}

start.onclick = () => void attempt(chosen);
demonstrate.onclick = () => void attempt(synthetic);
stop.onclick = () => running?.abort();
