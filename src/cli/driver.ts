// The Vulkan driver that Dawn (npm `webgpu`) needs: find it, and on Debian or Ubuntu install Mesa's software driver where there is none.
// Measured with Mesa's software driver: 22.0 and 22.3 (Debian 12's own) give Dawn no adapter; 23.2, 24.0 and 25.0 (bookworm-backports) do.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const OLDEST_MESA = 23.2;
const PACKAGES = 'mesa-vulkan-drivers libvulkan1';
const OWN_FILE = '/etc/apt/sources.list.d/deqreg-backports';

export interface Driver {
  /** The adapter as Dawn names it, e.g. `llvmpipe: Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6)`. */
  name: string;
  /** It computes on the CPU. */
  software: boolean;
}

/** One apt source: `options` are the other settings of its line or stanza (Signed-By, Architectures, …), kept as written. */
export interface AptSource {
  form: 'list' | 'sources';
  uris: string[];
  suites: string[];
  components: string[];
  options: string;
}

/** Shell commands for root that install the driver from suite `from`; `created` is the file the first of them writes, if it does. */
export interface InstallPlan {
  from: string;
  commands: string[];
  created?: string;
}

const ADAPTER_SCRIPT = `import { create } from 'webgpu';
const gpu = create([]);
const info = (await gpu.requestAdapter())?.info;
const { vendor, device, description, isFallbackAdapter: software } = info ?? {};
console.log(JSON.stringify(info ? { name: software ? description : \`\${vendor} \${device}, \${description}\`, software } : null));
process.exit(0);`;

/**
 * The adapter Dawn picks, or null where there is none. Asks in a fresh process, because Dawn remembers the absence of a driver.
 * Throws where Dawn itself does not load or crashes.
 */
export function findDriver(): Driver | null {
  const cwd = dirname(fileURLToPath(import.meta.url)); // 'webgpu' is resolved from here, not from the user's folder
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', ADAPTER_SCRIPT], { cwd, encoding: 'utf8' });
  if (child.status !== 0) {
    const reason = child.stderr.split('\n').find((line) => line.includes('Error')) ?? child.error?.message ?? child.signal ?? 'unknown';
    throw new Error(`webgpu: Dawn fails on this machine (${process.platform} ${process.arch}): ${reason.trim()}`);
  }
  return JSON.parse(child.stdout.trim().split('\n').pop()!);
}

/** Mesa's release in a Debian version (`1:25.0.7-2~bpo12+1` → 25.0; its minor numbers have one digit); NaN for `(none)`. */
export const mesaRelease = (version: string): number => parseFloat(version.replace(/^\d+:/, ''));

/** The binary sources of one-line text (`deb [options] uri suite component…`), disabled ones left out. */
export function parseListFile(text: string): AptSource[] {
  const lines = text.split('\n').map((line) => /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line));
  return lines
    .filter((line) => line !== null)
    .map(([, options, uri, suite, components]) => ({
      form: 'list',
      uris: [uri],
      suites: [suite],
      components: components.trim().split(/\s+/),
      options: options?.trim() ?? '',
    }));
}

/** The binary sources of deb822 text (stanzas of `Types: … URIs: … Suites: …`), disabled ones left out. */
export function parseSourcesFile(text: string): AptSource[] {
  return text
    .replace(/^#.*\n?/gm, '')
    .split(/\n\s*\n/)
    .flatMap((stanza) => {
      const fields = stanza
        .split(/\n(?=\S)/)
        .map((field) => field.trim())
        .filter(Boolean);
      const words = (name: RegExp) =>
        fields
          .find((field) => name.test(field))
          ?.replace(/^[^:]*:/, '')
          .trim()
          .split(/\s+/) ?? [];
      if (!words(/^Types:/i).includes('deb') || /^(no|false|0)$/i.test(words(/^Enabled:/i)[0] ?? '')) return [];
      const options = fields.filter((field) => !/^(Types|URIs|Suites|Components|Enabled):/i.test(field)).join('\n');
      return [
        { form: 'sources' as const, uris: words(/^URIs:/i), suites: words(/^Suites:/i), components: words(/^Components:/i), options },
      ];
    });
}

/** The same archive and signature, another suite, component main: the text of a source file in the source's own form. */
export const sourceFor = (source: AptSource, suite: string): string =>
  source.form === 'list'
    ? `deb ${source.options && `[${source.options}] `}${source.uris[0]} ${suite} main`
    : [`Types: deb`, `URIs: ${source.uris.join(' ')}`, `Suites: ${suite}`, `Components: main`, source.options].filter(Boolean).join('\n');

/**
 * What installs Mesa's software driver, from `apt-cache policy mesa-vulkan-drivers` and the machine's sources: the release's own suite
 * if it is new enough, else its backports from the archive that holds the release's Mesa. Null where apt knows no Mesa (yet).
 */
export function planInstall(policy: string, sources: AptSource[], codename: string): InstallPlan | null {
  const install = (target: string) => `apt-get install -y --no-install-recommends ${target}${PACKAGES}`;
  const candidate = mesaRelease(/Candidate: (\S+)/.exec(policy)?.[1] ?? '');
  if (candidate >= OLDEST_MESA) return { from: codename, commands: ['apt-get update', install('')] };

  const archives = [...policy.matchAll(/^\s*-?\d+ (\S+) (\S+)\/main /gm)].filter(([, , suite]) => suite === codename).map(([, uri]) => uri);
  const offers = (source: AptSource, suite: string) =>
    source.suites.includes(suite) &&
    source.components.includes('main') &&
    source.uris.some((uri) => archives.includes(uri.replace(/\/+$/, '')));
  const backports = `${codename}-backports`;
  const fromBackports = ['apt-get update', install(`-t ${backports} `)];
  if (sources.some((source) => offers(source, backports))) return { from: backports, commands: fromBackports };

  const own = sources.find((source) => offers(source, codename));
  if (!own) return null;
  const created = `${OWN_FILE}.${own.form}`;
  return { from: backports, created, commands: [`tee ${created} <<'END'\n${sourceFor(own, backports)}\nEND`, ...fromBackports] };
}

/** The fields of /etc/os-release; none on a system without one. */
export const parseOsRelease = (text: string): Record<string, string> =>
  Object.fromEntries([...text.matchAll(/^([A-Z_]+)=["']?(.*?)["']?$/gm)].map(([, name, value]) => [name, value]));

/** What to do by hand on a system that has no adapter and that `installDriver` does not know. */
export function adviceFor(platform: string, os: Record<string, string>): string {
  if (platform !== 'linux') return 'No GPU adapter: update the GPU driver (Dawn uses Metal on macOS, Direct3D 12 on Windows).';
  const byFamily: Record<string, string> = {
    debian: `apt-get install ${PACKAGES}`,
    ubuntu: `apt-get install ${PACKAGES}`,
    fedora: 'dnf install mesa-vulkan-drivers vulkan-loader',
    rhel: 'dnf install mesa-vulkan-drivers vulkan-loader',
    arch: 'pacman -S --needed vulkan-swrast vulkan-icd-loader',
    alpine: 'apk add mesa-vulkan-swrast vulkan-loader gcompat',
  };
  const family = [os.ID, ...(os.ID_LIKE ?? '').split(' ')].find((id) => id in byFamily);
  return commandsText(family ? [byFamily[family]] : [], true);
}

/** The message of a machine without an adapter: the commands, with `sudo` for users. */
export function commandsText(commands: string[], sudo: boolean): string {
  const need = `No GPU adapter: Dawn needs a Vulkan driver, a GPU's own or Mesa's software driver, version ${OLDEST_MESA} or newer.`;
  const lines = commands.map((command) => `${sudo ? 'sudo ' : ''}${command}`);
  return `${need}\n${lines.length ? `Install Mesa's with\n\n${lines.join('\n')}\n\nand` : 'Install one and'} run this again.`;
}

const osRelease = () => parseOsRelease(existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '');
const isRoot = () => process.getuid?.() === 0;
const knowsApt = (os: Record<string, string>) => process.platform === 'linux' && (os.ID === 'debian' || os.ID === 'ubuntu');

function aptSources(): AptSource[] {
  const folder = '/etc/apt/sources.list.d';
  const files = [
    '/etc/apt/sources.list',
    ...(existsSync(folder)
      ? readdirSync(folder)
          .sort()
          .map((name) => join(folder, name))
      : []),
  ];
  const read = (file: string) =>
    file.endsWith('.list')
      ? parseListFile(readFileSync(file, 'utf8'))
      : file.endsWith('.sources')
        ? parseSourcesFile(readFileSync(file, 'utf8'))
        : [];
  return files.filter((file) => existsSync(file)).flatMap(read);
}

/** Runs one shell command without questions; dpkg needs the sbin folders, which `su` leaves out of PATH. */
function shell(command: string): { ok: boolean; output: string } {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const child = spawnSync('sh', ['-c', command], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  return { ok: child.status === 0, output: `$ ${command}\n${child.stdout}${child.stderr}` };
}

const currentPlan = (codename: string) => planInstall(shell('apt-cache policy mesa-vulkan-drivers').output, aptSources(), codename);

/** The exact commands that give this machine a driver, as a text for its user. */
export function driverAdvice(): string {
  const os = osRelease();
  if (!knowsApt(os)) return adviceFor(process.platform, os);
  const plan = currentPlan(os.VERSION_CODENAME);
  const whole = `"${process.execPath}" "${fileURLToPath(import.meta.url)}" setup`; // apt has no lists yet: root must fetch them first
  return commandsText(plan?.commands ?? [whole], !isRoot());
}

/** Installs Mesa's software driver and returns true; false, with nothing changed, without root, apt or a package. Prints one line. */
export function installDriver(): boolean {
  const os = osRelease();
  if (!knowsApt(os) || !isRoot()) return false;
  const codename = os.VERSION_CODENAME;
  let plan = currentPlan(codename);
  if (!plan) {
    console.log('no GPU adapter: reading the package lists …');
    const update = shell('apt-get update');
    plan = currentPlan(codename);
    if (!plan) console.error(update.output);
  }
  if (!plan) return false;
  console.log(`no GPU adapter: installing Mesa's software driver from ${plan.from} …`);
  const results = plan.commands.map(shell); // a failed update of some other source does not matter, the install decides
  if (results.at(-1)!.ok) return true;
  console.error(results.map(({ output }) => output).join('\n'));
  if (plan.created) rmSync(plan.created, { force: true });
  return false;
}
