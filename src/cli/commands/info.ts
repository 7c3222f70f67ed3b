// deqreg info: the adapters that Dawn finds, which one is taken and why, what it can do; what to install when there is none.
import { version } from '../../../package.json';
import { mebibytes } from '../../gpu/device.ts';
import { type FoundAdapter, listAdapters } from '../../node.ts';
import { processorOf } from '../../graph/plan.ts';
import { tiling as convolutionTiling } from '../../ops/conv3d-passes.ts';
import { warpTiling } from '../../ops/warp.ts';
import { windowTiling } from '../../ops/window-sums.ts';
import { type Options, parse, table } from '../args.ts';
import { driverAdvice } from '../driver.ts';

export const summary = 'list the GPU adapters, their limits and features, and the one that is taken';
export const usage = 'deqreg info [--json]';
export const options = { json: { help: 'print everything as JSON, with all limits' } } satisfies Options;

/** Limits that decide what can be registered; `true` for those in bytes. */
const limits: Record<string, boolean> = {
  maxBufferSize: true,
  maxStorageBufferBindingSize: true,
  maxStorageBuffersPerShaderStage: false,
  maxComputeWorkgroupsPerDimension: false,
  maxComputeInvocationsPerWorkgroup: false,
  maxComputeWorkgroupStorageSize: true,
};

export async function run(args: string[]): Promise<number> {
  const { json } = parse(options, args);
  const adapters = await listAdapters();
  const processor = processorOf(adapters[0]?.info ?? { software: true });
  const tilings = [...convolutionTiling(processor), windowTiling(processor), warpTiling(processor)];
  const reason = adapters.length ? why(adapters) : null;
  const advice = adapters.length ? null : driverAdvice();
  if (json)
    console.log(
      JSON.stringify(
        {
          version,
          node: process.versions.node,
          platform: `${process.platform} ${process.arch}`,
          adapters,
          reason,
          advice,
          tiling: Object.fromEntries(tilings),
        },
        null,
        2,
      ),
    );
  else
    console.log(
      [
        `deqreg ${version}, Node ${process.versions.node}, ${process.platform} ${process.arch}`,
        ...adapters.map(describe),
        reason ?? advice,
        `Launches, on ${processor === 'gpu' ? 'a GPU' : 'a CPU'}:`,
        ...table(tilings),
      ].join('\n'),
    );
  return adapters.length ? 0 : 1;
}

function why(adapters: FoundAdapter[]): string {
  if (adapters.length === 1) return 'It is taken: Dawn offers no other.';
  return 'The first is taken: Dawn offers it when asked for high performance, the other when asked for low power.';
}

function describe({ info, limits: all, features, chosen }: FoundAdapter): string {
  const { description, vendor, architecture, device, software } = info;
  return [
    `${chosen ? '*' : ' '} ${description} (${software ? 'software: computes on the CPU' : 'hardware'})`,
    ...table([
      ['vendor', [vendor, architecture, device].filter(Boolean).join(', ')],
      ...Object.entries(limits).map(([name, bytes]) => [name, bytes ? mebibytes(all[name]) : String(all[name])]),
      ['features', features.join(', ')],
    ]),
  ].join('\n');
}
