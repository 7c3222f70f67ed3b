// deqreg setup: is there an adapter that Dawn can use? If not, install Mesa's software driver or say how.
import { type Options, parse } from '../args.ts';
import { driverAdvice, findDriver, installDriver } from '../driver.ts';

export const summary = "find the GPU adapter; install Mesa's software driver where there is none";
export const usage = 'deqreg setup';
export const options = {} satisfies Options;

/** Exit code 0 with one line `adapter: …`, or 1 with the commands that give the machine a driver. */
export async function run(args: string[]): Promise<number> {
  parse(options, args);
  let driver = findDriver();
  if (!driver) {
    if (!installDriver()) return refuse(driverAdvice());
    driver = findDriver();
    if (!driver) return refuse("Mesa's software driver gives Dawn no adapter; see `apt-cache policy mesa-vulkan-drivers`.");
  }
  console.log(`adapter: ${driver.name}${driver.software ? ' (software)' : ''}`);
  return 0;
}

function refuse(message: string): number {
  console.error(message);
  return 1;
}
