// What the benches wrote: the page is that of the reports, every image is there, and the words of the stability report follow from its
// rows.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { claimOf, claimTable, diceTable, findings, groups, headline, parseRows, restTable, type Row } from '../bench/claims.ts';
import { pageOf, readPage } from '../bench/page.ts';
import { csv } from '../bench/report.ts';
import { at } from './root.ts';

const results = at('bench/results');
const read = (file: string) => readFileSync(`${results}/${file}`, 'utf8');
const reports = readdirSync(results).filter((file) => file.endsWith('.md'));

test('every image of a report is there', () => {
  for (const report of reports)
    for (const [, file] of read(report).matchAll(/!\[[^\]]*\]\(([^)]+)\)/g))
      assert.ok(existsSync(`${results}/${file}`), `${report} shows ${file}, which is missing`);
});

test('the page is that of the reports: if not, node build.mjs bench page', () => {
  assert.ok(read('index.html') === readPage(results), 'bench/results/index.html is older than a report');
});

test('reports of stability follow from their rows', () => {
  for (const report of reports.filter((file) => file.startsWith('stability'))) {
    const rows = parseRows(read(report.replace('.md', '.csv')));
    const text = read(report);
    for (const part of [
      headline(rows),
      restTable(rows),
      findings(rows),
      claimTable(rows),
      ...groups(rows, (row) => row.pair).map(diceTable),
    ])
      assert.ok(text.includes(part), `${report} does not have: ${part.slice(0, 200)}`);
  }
});

/** A curve of one model by one solver: what is left out of a value is 0.75 Dice, no folds, a residual of 0.015 at a tolerance of 0.02. */
const curve = (values: Partial<Row>[], of: Partial<Row> = {}): Row[] =>
  values.map((value, i) => ({
    pair: 'a/b',
    model: 'DEQ (jfb)',
    seed: 1,
    solver: 'Anderson',
    multiple: [1, 2, 5, 20][i],
    iterations: 16 * [1, 2, 5, 20][i],
    dice: 0.75,
    folds: 0,
    residual: 0.015,
    tolerance: 0.02,
    lastDice: 0.75,
    lastResidual: 0.03,
    before: 0.5,
    ...of,
    ...value,
  }));

test('a curve converges at the first multiple from which its residual stays at the tolerance, and moves by what comes after', () => {
  const rows = curve([{ residual: 0.019 }, { residual: 0.03, dice: 0.7 }, { dice: 0.753 }, { dice: 0.751 }]);
  const { converged, plateau, spread, best, loss, diverged } = claimOf(rows);
  assert.is(converged, 5);
  assert.ok(Math.abs(plateau! - 0.752) < 1e-9 && Math.abs(spread! - 0.002) < 1e-9 && Math.abs(loss! - 0.002) < 1e-9);
  assert.is(best!.multiple, 5);
  assert.is(diverged, undefined);
  assert.match(headline(rows), /stays in 1 of 1 run\*\*/);
  assert.match(findings(rows), /the run, from 5× on/);
  assert.match(findings(rows), /does not degrade/);
});

test('the bar is missed by a Dice that moves or is low, and by one run without convergence', () => {
  const good = curve([{}, {}, {}, {}]);
  const [met, missed] = [/stays in 1 of 1 run\*\*/, /stays in 0 of 1 run: the bar is not met\*\*/];
  assert.match(headline(good), met);
  for (const bad of [curve([{ dice: 0.756 }, {}, {}, {}]), curve([{}, {}, {}, { dice: 0.69 }]), curve([{}, {}, {}, {}], { dice: 0.7 })])
    assert.match(headline(bad), missed);
  const other = curve([{}, {}, {}, { residual: 0.021 }], { seed: 2 });
  assert.is(claimOf(other).converged, undefined);
  assert.match(headline([...good, ...other]), /stays in 1 of 2 runs: the bar is not met/);
  assert.match(findings([...good, ...other]), /1 of 2 runs, from 1× on/);
});

test('what degrades and what is no number is told so', () => {
  const of = { model: 'unrolled T = 6', solver: 'plain', residual: 0.5 } as const;
  const worse = curve([{}, { dice: 0.76 }, {}, { dice: 0.6 }], of);
  assert.match(findings(worse), /the run degraded: Dice ends 0\.1600 below its best\./);
  assert.match(headline(worse), /Unrolled twins .* degrade in 1 of 1 run\*\*/);
  assert.match(headline(curve([{}, {}, {}, {}], of)), /degrade in 0 of 1 run\*\*.*the twins stay as well/);
  assert.match(findings(worse), /No run has its residual at its tolerance/);
  const gone = { dice: null, folds: null, residual: null, lastDice: null, lastResidual: null };
  const lost = curve([{}, {}, gone, gone], { ...of, seed: 2 });
  assert.is(claimOf(lost).diverged, 5);
  assert.match(findings([...worse, ...lost]), /1 of 2 runs diverged: values that are not finite, first at 5×\./);
  assert.match(headline(lost), /degrade in 1 of 1 run/);
  assert.match(claimTable(lost), /diverged at 5×/);
  assert.match(diceTable(lost), /\| diverged \| diverged \|/);
  const all = [...worse, ...lost];
  assert.equal(parseRows(csv(all.map((row) => ({ ...row })))), all);
});

test('what each solver makes of a model: how many runs rest, and the most that one loses', () => {
  const damped = { solver: 'damped', residual: 0.5 } as const;
  const rows = [
    ...curve([{}, { dice: 0.76 }, {}, { residual: 0.019 }]),
    ...curve([{}, {}, {}, { residual: 0.021 }], { seed: 2 }),
    ...curve([{}, {}, { dice: 0.8 }, {}], damped),
  ];
  const [, , anderson, other] = restTable(rows).split('\n');
  assert.is(anderson, '| DEQ (jfb) | Anderson | 320 | 1 of 2 | 0.021 | 0.0100 |');
  assert.is(other, '| DEQ (jfb) | damped | 320 | 0 of 1 | 0.50 | 0.0500 |');
  const gone = { dice: null, residual: null };
  assert.match(restTable(curve([{}, {}, {}, gone], damped)), /\| 0 of 1 \| diverged \| diverged \|$/);
});

test('the page: reports in their order, those of a GPU behind the software one, links to what is there', () => {
  const report = (title: string, adapter: string, text: string) =>
    `# ${title}\n\n2026-01-02 · commit abc · ${adapter} · 2 cores\n\n\`node x\`\n\n${text}\n`;
  const html = pageOf(
    new Map([
      ['kernels', report('Kernels', 'software', 'text')],
      ['memory-nvidia-h100', report('Memory', 'NVIDIA H100', '## Part\n\n![a < b](memory-nvidia-h100.svg)\n\n![gone](gone.svg)')],
      ['memory', report('Memory', 'software', '| a | b |\n| --- | --: |\n| 1 | 2 |')],
    ]),
    ['memory-nvidia-h100.csv', 'memory.csv', 'memory-nvidia-h100.svg', 'memory-time.csv'],
  );
  const order = ['href="#memory"', 'href="#kernels"', 'id="memory-report"', 'id="memory-nvidia-h100"', 'id="kernels-report"'].map((part) =>
    html.indexOf(part),
  );
  assert.equal(
    order,
    order.slice().sort((a, b) => a - b),
  );
  assert.ok(!order.includes(-1));
  assert.match(html, /<img src="memory-nvidia-h100\.svg" alt="a &lt; b"/);
  assert.match(html, /gone: gone\.svg is missing/);
  assert.match(html, /<h4>Part<\/h4>/);
  assert.match(html, /memory\.md<\/a> · <a href="memory\.csv">memory\.csv<\/a> · <a href="memory-time\.csv">/);
  assert.not.match(html, /href="#stability"/);
  assert.throws(() => pageOf(new Map([['notes', '# Notes\n\ntext\n']]), []), /notes\.md: not a report/);
});

test.run();
