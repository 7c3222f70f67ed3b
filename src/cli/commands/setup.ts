// deqreg setup: is there an adapter that Dawn can use? If not, install Mesa's software driver or say how.
import { driverAdvice, findDriver, installDriver } from '../driver.ts';

export const summary = 'find the GPU adapter; install Mesa\'s software driver where there is none';
export const usage = 'deqreg setup';

/** Exit code 0 with one line `adapter: …`, or 1 with the commands that give the machine a driver. */
export async function run(args: string[]): Promise<number> {
  if (args.length) throw new Error(`setup: takes no arguments, got ${args.join(' ')}; usage: ${usage}`);
  let driver = findDriver();
  if (!driver) {
    const installed = installDriver();
    driver = installed ? findDriver() : null;
    if (!driver) {
      console.error(installed ? 'Mesa\'s software driver is installed, but Dawn finds no adapter: `vulkaninfo` says more.' : driverAdvice());
      return 1;
    }
  }
  console.log(`adapter: ${driver.name}${driver.software ? ' (software)' : ''}`);
  return 0;
}
