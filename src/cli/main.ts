// deqreg <command> [arguments]
import * as setup from './commands/setup.ts';

const commands: Record<string, { summary: string; run: (args: string[]) => Promise<number> }> = { setup };
const [name = '', ...args] = process.argv.slice(2);
const command = commands[name];
if (!command) {
  console.error(`usage: deqreg <command>\n${Object.entries(commands).map(([key, { summary }]) => `  ${key}  ${summary}`).join('\n')}`);
  process.exit(2);
}
process.exit(await command.run(args).catch((error: Error) => (console.error(error.message), 1)));
