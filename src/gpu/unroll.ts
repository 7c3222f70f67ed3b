// Loops that a kernel wants written out: `for (var i = 0u; i < RUN; i++) { // @unroll`. An array stays in registers only where every index
// is a constant, and drivers unroll short loops alone. Start, end and step are whole numbers or names of header constants; no `break` or
// `continue` but of loops inside.
import type { Constants } from './kernel.ts';

const LOOP = /for \(var (\w+) = (\w+); \1 < (\w+); \1(?:\+\+| \+= (\w+))\) \{ \/\/ @unroll[^\n]*/g;

/**
 * The text with every `@unroll` loop written out, innermost first: each round a block of its own, in which the loop's variable is a number.
 * Later lines keep their places, so that line numbers in a driver's messages are the file's.
 */
export function unroll(file: string, text: string, constants: Constants): string {
  for (;;) {
    const loop = [...text.matchAll(LOOP)].at(-1); // what comes last holds no other
    if (!loop) break;
    const [head, name, start, end, step = '1'] = loop;
    const open = loop.index + head.indexOf('{');
    const close = closing(file, text, open);
    const whole = text.slice(loop.index, close + 1);
    const body = text
      .slice(open + 1, close)
      .replace(/\/\/.*$/gm, '')
      .replace(/\s+/g, ' ');
    const [from, to, by] = [start, end, step].map((word) => {
      const number = Number.parseInt(String(constants[word] ?? word), 10);
      if (Number.isNaN(number))
        throw new Error(`kernels/${file}.wgsl: @unroll: ${word} is no constant of its launch, as ${Object.keys(constants).join(', ')} are`);
      return number;
    }) as [number, number, number];
    if (by < 1) throw new Error(`kernels/${file}.wgsl: @unroll: a loop by steps of ${step} = ${by}`);
    const jump = /\b(?:break|continue)\b/.exec(withoutLoops(file, body))?.[0];
    if (jump) throw new Error(`kernels/${file}.wgsl: @unroll: ${jump} would leave a loop that is written out`);
    const rounds: string[] = [];
    for (let i = from; i < to; i += by) rounds.push(`{${body.replace(new RegExp(`\\b${name}\\b`, 'g'), `${i}u`)}}`);
    text = text.slice(0, loop.index) + rounds.join(' ') + whole.replace(/[^\n]/g, '') + text.slice(close + 1);
  }
  const other = /^.*\{ \/\/ @unroll/m.exec(text)?.[0].trim();
  if (other) throw new Error(`kernels/${file}.wgsl: @unroll takes "for (var i = 0u; i < N; i++) {" or "i += STEP", got "${other}"`);
  return text;
}

/** The text less the loops in it. */
function withoutLoops(file: string, text: string): string {
  for (let loop; (loop = /\b(?:for|while|loop)\b[^{]*\{/.exec(text));)
    text = text.slice(0, loop.index) + text.slice(closing(file, text, loop.index + loop[0].length - 1) + 1);
  return text;
}

/** Where the brace at `open` closes. */
function closing(file: string, text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text.startsWith('//', i)) i = text.indexOf('\n', i) < 0 ? text.length : text.indexOf('\n', i);
    else if (text[i] === '{') depth++;
    else if (text[i] === '}' && --depth === 0) return i;
  }
  throw new Error(`kernels/${file}.wgsl: @unroll: a loop does not close: ${text.slice(text.lastIndexOf('\n', open) + 1, open + 1).trim()}`);
}
