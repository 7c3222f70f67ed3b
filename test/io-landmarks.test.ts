import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeLandmarks, parseLandmarks } from '../src/io/landmarks.ts';
import { parsePoints } from '../src/io/points.ts';
import { messageOf } from './io-make-nifti.ts';

const HEADER = 'fix_i,fix_j,fix_k,mov_i,mov_j,mov_k (voxel indices in the common 8x9x10 2 mm grid)';
const ROWS = ['59.3070,58.9150,114.5,59.4043,58.0291,-1', '44,88,44.5,46.4,8.97e1,+.5'];
const FIXED = [59.307, 58.915, 114.5, 44, 88, 44.5];
const MOVING = [59.4043, 58.0291, -1, 46.4, 89.7, 0.5];

const check = (text: string, names?: string[]) => {
  const landmarks = parseLandmarks('l.csv', text);
  assert.equal([[...landmarks.fixed], [...landmarks.moving]], [FIXED, MOVING]);
  assert.equal(landmarks.names, names);
};

test('commas, semicolons, tabs, CRLF, blank lines, a byte order mark, no header', () => {
  const text = [HEADER, ...ROWS, ''].join('\n');
  check(text);
  check(text.replaceAll(',', ';'));
  check(text.replaceAll(',', '\t'));
  check(text.replaceAll(',', ' , '));
  check(`\uFEFF\r\n${text.replaceAll('\n', '\r\n\r\n')}`);
  check(ROWS.join('\n'));
});

test('a leading column of names', () => {
  check([`name,${HEADER}`, `carina,${ROWS[0]}`, `2,${ROWS[1]}`].join('\n'), ['carina', '2']);
  check(ROWS.map((row) => `p;${row.replaceAll(',', ';')}`).join('\n'), ['p', 'p']);
});

const BAD: [text: string, message: RegExp][] = [
  ['', /^l\.csv: no landmarks; expected lines of/],
  [HEADER, /^l\.csv: no landmarks/],
  [`${HEADER}\n1,2,3,4,5`, /^l\.csv:2: 5 columns, expected 6 \(fixed i, j, k, moving i, j, k\)/],
  [`${HEADER}\n\n${ROWS[0]}\n1,2,3,4,5,x`, /^l\.csv:4: "x" is not a number/],
  [`${HEADER}\n1,2,3,4,,6`, /^l\.csv:2: "" is not a number/],
  [`${HEADER}\n1,2,3,4,5,NaN`, /^l\.csv:2: "NaN" is not a number/],
  [`${HEADER}\n1,2,3,4,5,0x10`, /^l\.csv:2: "0x10" is not a number/],
  [`${HEADER}\n1,2,3,4,5,1e999`, /^l\.csv:2: "1e999" is not a number/],
  [`${ROWS[0]}\na,${ROWS[1]}`, /^l\.csv:2: 7 columns, expected 6/],
  [`a,${ROWS[0]}\n${ROWS[1]}`, /^l\.csv:2: 6 columns, expected 7 \(name, fixed/],
  ['1,2,3,4,5,oops', /^l\.csv:1: "oops" is not a number/],
  [`${HEADER}\n0.5,1,2,3,4,5,6`, /^l\.csv:2: the first of 7 columns is a name, got "0\.5"/],
  ['1;2;3;4;5;6,5', /^l\.csv:1: "6,5" is not a number/],
  ['1 2 3 4 5 6', /^l\.csv(:1)?: /],
  [`moving_i,moving_j,moving_k,fixed_i,fixed_j,fixed_k\n${ROWS[0]}`, /^l\.csv:1: its columns are .*: moving before fixed; expected/],
  [`fixed_i,fixed_j,fixed_k,moving_i,moving_j,moving_k,weight\n${ROWS[0]},1`, /^l\.csv:1: .*: the first of 7 is a name; expected/],
  [
    `fixed_x_mm,fixed_y_mm,fixed_z_mm,moving_x_mm,moving_y_mm,moving_z_mm\n${ROWS[0]}`,
    /^l\.csv:1: its column fixed_x_mm is named like no voxel index; .*: name them fixed_x/,
  ],
  [`fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z\n${ROWS[0]}`, /^l\.csv:1: its columns are in mm, by x, y, z, .* give these too$/],
];

for (const [text, message] of BAD) {
  test(`refused: ${JSON.stringify(text.replace(HEADER, 'HEADER'))}`, async () => {
    assert.match(await messageOf(() => parseLandmarks('l.csv', text)), message);
  });
}

test('encodeLandmarks is read back exactly', async () => {
  const fixed = Float64Array.of(0.1 + 0.2, 1e-9, -3, 4, 5, 6),
    moving = Float64Array.of(1 / 3, 2, 3, 4e20, 5, 6);
  for (const names of [undefined, ['a b', '7'], ['a,b', 'the "left" one']]) {
    const back = parseLandmarks('l.csv', encodeLandmarks({ fixed, moving, names }));
    assert.equal([back.fixed, back.moving, back.names], [fixed, moving, names]);
  }
  assert.match(await messageOf(() => encodeLandmarks({ fixed, moving: moving.subarray(3) })), /2 fixed points, 1 moving points/);
});

test('a header says by its names in what the points are; one that does not is refused', () => {
  const grid = { size: [8, 9, 10] as [number, number, number], affine: [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0] };
  const read = (header: string) => [...parseLandmarks('l.csv', `${header}\n2,2,2,1,1,1\n`, { fixed: grid, moving: grid }).fixed];
  for (const voxels of [
    'i,j,k,i,j,k',
    'i1,j1,k1,i2,j2,k2',
    'Fixed I,Fixed J,Fixed K,Moving I,Moving J,Moving K',
    'fixedi,fixedj,fixedk,movi,movj,movk',
  ])
    assert.equal(read(voxels), [2, 2, 2], voxels);
  for (const mm of [
    'x1,y1,z1,x2,y2,z2',
    'Fixed X,Fixed Y,Fixed Z,Moving X,Moving Y,Moving Z',
    'x_fixed,y_fixed,z_fixed,x_moving,y_moving,z_moving',
  ])
    assert.equal(read(mm), [-1, -1, 1], mm);
  for (const neither of ['i,j,k,x,y,z', 'fixed_R,fixed_A,fixed_S,moving_R,moving_A,moving_S', 'k,j,i,k,j,i', 'a,b,c,d,e,f'])
    assert.throws(() => read(neither), /^l\.csv:1: its columns are .*, which do not say in what the points are; expected are/, neither);
});

test('columns x, y, z are LPS mm, and become voxels by the grids', () => {
  const fixed = { size: [8, 9, 10] as [number, number, number], affine: [-2, 0, 0, 7, 0, 2, 0, 1, 0, 0, 3, -4] };
  const moving = { ...fixed, affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] };
  const text = 'name,Fixed_X,Fixed_Y,Fixed_Z,Moving_X,Moving_Y,Moving_Z\na,-3,-5,2,-1,-2,3\n';
  const read = parseLandmarks('l.csv', text, { fixed, moving });
  assert.equal([[...read.fixed], [...read.moving]], [[2, 2, 2], [1, 2, 3]]); // prettier-ignore
  const voxels = 'fixed_i,fixed_j,fixed_k,moving_i,moving_j,moving_k\n2,2,2,1,2,3\n';
  assert.equal([...parseLandmarks('l.csv', voxels, { fixed, moving }).fixed], [2, 2, 2]);
});

test('quoted fields are what is in the quotes, in a header too', () => {
  const { fixed, names } = parseLandmarks(
    'q.csv',
    '"name","fixed_i","fixed_j","fixed_k","moving_i","moving_j","moving_k"\n"a",1,"2",3,4,5,6\n',
  );
  assert.equal([[...fixed], names], [[1, 2, 3], ['a']]);
  assert.throws(
    () => parseLandmarks('q.csv', '"moving_i","moving_j","moving_k","fixed_i","fixed_j","fixed_k"\n1,2,3,4,5,6\n'),
    /moving before fixed/,
  );
});

test('points keep their other columns as they are, whatever is in them', () => {
  const text = 'x,y,z,note\n1,2,3,"he said ""here"", twice"\n4,5,6,"two\nlines"\n7,8,nine,\n';
  assert.throws(() => parsePoints('p.csv', text), /p\.csv:5: "nine" is not a number/);
  const spaced = parsePoints('p.csv', 'x, y, z, "a, note"\n1, 2, 3, "b, c"\n');
  assert.is(spaced.encode(spaced.points), 'x,y,z,"a, note"\n1,2,3,"b, c"\n');
  const open = 'x,y,z,note\n1,2,3,a\n4,5,6,"not closed\n7,8,9,b\n';
  assert.throws(() => parsePoints('p.csv', open), /^p\.csv:3: its quotes do not match$/);
  const table = parsePoints('p.csv', text.replace('nine', '9'));
  assert.equal([...table.points], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.is(table.encode(table.points), text.replace('nine', '9'));
});

test.run();
