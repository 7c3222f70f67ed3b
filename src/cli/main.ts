// deqreg <command> [options]. Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + its number for a signal. An error is one line on stderr.
import { version } from '../../package.json';
import { type Command, help, table, UsageError } from './args.ts';
import * as apply from './commands/apply.ts';
import * as compose from './commands/compose.ts';
import * as convert from './commands/convert.ts';
import * as evaluate from './commands/evaluate.ts';
import * as info from './commands/info.ts';
import * as invert from './commands/invert.ts';
import * as jacobian from './commands/jacobian.ts';
import * as measure from './commands/measure.ts';
import * as models from './commands/models.ts';
import * as page from './commands/page.ts';
import * as phantom from './commands/phantom.ts';
import * as plan from './commands/plan.ts';
import * as points from './commands/points.ts';
import * as quickstart from './commands/quickstart.ts';
import * as register from './commands/register.ts';
import * as setup from './commands/setup.ts';
import * as train from './commands/train.ts';
import * as trainStep from './commands/train-step.ts';
import { closeGpus } from './gpu.ts';
import { discardOutputs } from './outputs.ts';
import { clearStatus } from './status-line.ts';
import { STOPPED } from './stop-signals.ts';

const commands: Record<string, Command> = {
  register,
  evaluate,
  measure,
  apply,
  jacobian,
  invert,
  compose,
  convert,
  points,
  models,
  phantom,
  page,
  train,
  plan,
  'train-step': trainStep,
  info,
  setup,
  quickstart,
};

const overview = () =>
  [
    'usage: deqreg <command> [options]',
    '',
    ...table(Object.entries(commands).map(([name, { summary }]) => [name, summary])),
    '',
    'deqreg <command> --help lists its options; deqreg --version prints the version.',
  ].join('\n');

async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined) throw new UsageError('no command; deqreg --help lists them');
  if (name === '--version') return tell(version);
  if (name === '--help' || name === '-h') return tell(overview());
  if (!Object.hasOwn(commands, name)) throw new UsageError(`unknown command ${name}; there are ${Object.keys(commands).join(', ')}`);
  if (args.includes('--help') || args.includes('-h')) return tell(help(commands[name]));
  return commands[name].run(args);
}

function tell(message: string): number {
  console.log(message);
  return 0;
}

function interrupted(code: number, told = true): void {
  const kept = discardOutputs();
  closeGpus();
  if (told) {
    clearStatus(); // ^C, and the progress
    console.error(`deqreg: interrupted${kept && `; ${kept}`}`);
  }
  process.exit(code);
}

for (const [signal, code] of Object.entries(STOPPED)) process.once(signal, () => interrupted(code));
process.stdout.on('error', () => interrupted(1, false)); // whoever read it has gone
process.stderr.on('error', () => {}); // nobody reads how far it is; where the terminal is gone, SIGHUP follows
const code = await main(process.argv.slice(2)).catch((error: Error) => {
  console.error(`deqreg: ${error.message.trim().replace(/\s*\n\s*/g, ' ')}`);
  return error instanceof UsageError ? 2 : 1;
});
process.exit(code); // Dawn would keep the process alive
