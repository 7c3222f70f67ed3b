import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync, inflateRawSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readDisplacement, readLandmarks, readVolume, writeAtomic, writeNifti } from '../src/io/files.ts';
import { encodeDisplacement, encodeNifti } from '../src/io/nifti.ts';
import { parseVolume } from '../src/io/parse-volume.ts';
import { makeNifti, messageOf, random, type MakeNifti } from './io-make-nifti.ts';

let folder = '';
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'deqreg-io-'));
});
test.after(() => rm(folder, { recursive: true }));

const at = (name: string) => join(folder, name);
const put = async (name: string, bytes: ArrayBuffer | Uint8Array | string) => {
  await writeFile(at(name), typeof bytes === 'string' ? bytes : new Uint8Array(bytes as ArrayBuffer));
  return at(name);
};
const EXAMPLE: MakeNifti = { dim: [7, 6, 5], dtype: 'int16', little: false };
const IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
const VALUES = [...Array(210).keys()].map((n) => n + 1);
const made = (options: MakeNifti = {}) => makeNifti({ ...EXAMPLE, ...options });

test('single files, plain and gzipped, whatever the name says', async () => {
  const { header } = made();
  const zipped = gzipSync(new Uint8Array(header));
  for (const [name, bytes] of [
    ['a.nii', header],
    ['a.nii.gz', zipped],
    ['zipped.nii', zipped],
    ['plain.nii.gz', header],
  ] as const) {
    const volume = await readVolume(await put(name, bytes));
    assert.equal([volume.size, volume.dtype, [...volume.data]], [[7, 6, 5], 'int16', VALUES], name);
    assert.equal(await parseVolume(name, Buffer.from(bytes as ArrayBuffer)), volume, name);
  }
  assert.match(await messageOf(() => parseVolume('sent', zipped.subarray(0, 60))), /^sent: truncated gzip stream/);
  assert.match(await messageOf(() => parseVolume('sent', new Uint8Array(500))), /^sent: not a NIfTI file/);
});

test('pairs, from either name, each half gzipped or not', async () => {
  for (const version of [1, 2] as const) {
    const { header, image } = made({ pair: true, version });
    const zip = (bytes: ArrayBuffer) => gzipSync(new Uint8Array(bytes));
    await Promise.all([
      put('p.hdr', header),
      put('p.img', image!),
      put('q.hdr.gz', zip(header)),
      put('q.img.gz', zip(image!)),
      put('r.hdr', header),
      put('r.img.gz', zip(image!)),
      put('S.HDR', header),
      put('S.IMG', image!),
    ]);
    for (const name of ['p.hdr', 'p.img', 'q.hdr.gz', 'q.img.gz', 'r.hdr', 'r.img.gz', 'S.HDR', 'S.IMG']) {
      assert.equal([...(await readVolume(at(name))).data], VALUES, name);
    }
  }
});

test('several gzip members, trailing zeros and bytes after the image are read; rubbish after the stream is not', async () => {
  const bytes = new Uint8Array(made().header);
  const parts = [bytes.subarray(0, 100), bytes.subarray(100, 400), bytes.subarray(400)].map((part) => gzipSync(part));
  const read = async (tail: Buffer) => [...(await readVolume(await put('m.nii.gz', Buffer.concat([...parts, tail])))).data];
  assert.equal(await read(Buffer.alloc(0)), VALUES);
  assert.equal(await read(Buffer.alloc(512)), VALUES);
  assert.match(await messageOf(() => read(Buffer.from('rubbish'))), /m\.nii\.gz: corrupt gzip stream/);
  const longer = gzipSync(Buffer.concat([bytes, Buffer.alloc(1000)]));
  assert.equal([...(await readVolume(await put('l.nii.gz', longer))).data], VALUES);
});

test('a frame of a 4-D image is named in brackets behind its file', async () => {
  const values = Array.from({ length: 3 * 210 }, (_, n) => n);
  const cine = { dim: [7, 6, 5, 3], values };
  const { header, image } = made({ ...cine, pair: true });
  const single = new Uint8Array(made(cine).header);
  await put('cine.nii', single);
  await put('cine.nii.gz', gzipSync(single));
  await put('pair.hdr', header);
  await put('pair.img.gz', gzipSync(new Uint8Array(image!)));
  for (const name of ['cine.nii', 'cine.nii.gz', 'pair.hdr', 'pair.img.gz'])
    for (const frame of [0, 2]) {
      const { size, data } = await readVolume(at(`${name}[${frame}]`));
      assert.equal([size, [...data]], [[7, 6, 5], values.slice(210 * frame, 210 * (frame + 1))], name);
    }
  assert.match(
    await messageOf(() => readVolume(at('cine.nii.gz[3]'))),
    /cine\.nii\.gz\[3\]: there is no frame 3: the image has 3, counted from 0$/,
  );
  assert.match(await messageOf(() => readVolume(at('none.nii[1]'))), /none\.nii: no such file or folder$/);
  const parsed = await parseVolume('upload', gzipSync(single), { frame: 1, maxVoxels: 210 });
  assert.equal([...parsed.data], values.slice(210, 420));
});

test('errors begin with the path and say what is wrong', async () => {
  await mkdir(at('folder.nii'));
  const { header, image } = made({ pair: true });
  const zipped = (options: MakeNifti) => gzipSync(new Uint8Array(made(options).header));
  const field = encodeDisplacement({ size: [1, 1, 1], affine: IDENTITY, data: new Float32Array(3) });
  await put('alone.hdr', header);
  await put('alone2.img', image!);
  const cases: [name: string, message: RegExp][] = [
    ['missing.nii', /no such file or folder$/],
    ['folder.nii', /is a directory$/],
    ['alone.hdr', /its other half .*alone\.img or .*alone\.img\.gz does not exist$/],
    ['alone2.img', /its other half .*alone2\.hdr or .*alone2\.hdr\.gz does not exist$/],
  ];
  const written: [name: string, bytes: ArrayBuffer | Uint8Array | string, message: RegExp][] = [
    ['empty.nii', '', /empty file$/],
    ['text.nii', 'ObjectType = Image\n'.repeat(100), /not a NIfTI file/],
    ['text.nii.gz', gzipSync('ObjectType = Image\n'.repeat(100)), /not a NIfTI file/],
    ['nothing.nii.gz', gzipSync(''), /empty file$/],
    ['header.nii', header, /header of a \.hdr\/\.img pair, but its name does not end in \.hdr$/],
    [
      'frames.nii.gz',
      zipped({ dim: [7, 6, 5, 2] }),
      /4-D volume \(2 frames of 7×6×5\); one of them is needed: a path takes the first as .*frames\.nii\.gz\[0\]$/,
    ],
    ['short.nii.gz', gzipSync(new Uint8Array(made().header).subarray(0, 400)), /truncated: 48 of 420 bytes of voxels/],
    ['vectors.nii', field, /vector field/],
  ];
  for (const [name, bytes, message] of written) cases.push([await put(name, bytes).then(() => name), message]);
  for (const [name, message] of cases) {
    const text = await messageOf(() => readVolume(at(name)));
    assert.ok(text.startsWith(`${at(name)}: `), text);
    assert.match(text, message);
  }
  await put('image.nii', made().header);
  assert.match(await messageOf(() => readDisplacement(at('image.nii'))), /image\.nii: not a displacement field/);
});

test('a gzip stream cut or damaged anywhere is refused', async () => {
  const next = random(1);
  const noise = Array.from({ length: 210 }, () => Math.floor(next() * 65536) - 32768);
  const zipped = gzipSync(new Uint8Array(made({ values: noise }).header));
  assert.ok(zipped.length > 400);
  for (let length = 2; length < zipped.length; length += 13) {
    await put('cut.nii.gz', zipped.subarray(0, length));
    assert.match(await messageOf(() => readVolume(at('cut.nii.gz'))), /cut\.nii\.gz: truncated gzip stream/);
  }
  let refused = 0;
  for (let n = 150; n < zipped.length; n += 23) {
    const damaged = Buffer.from(zipped);
    damaged[n] ^= 0x55;
    await put('bad.nii.gz', damaged);
    assert.match(await messageOf(() => readVolume(at('bad.nii.gz'))), /bad\.nii\.gz: (corrupt|truncated) gzip stream/, `${n}`);
    refused++;
  }
  assert.ok(refused > 10);
});

test('a stream cannot claim or deliver more than it holds', async () => {
  const { header } = made({ version: 2, dim: [2 ** 10, 2 ** 10, 2 ** 11], dtype: 'float64', values: [1] });
  assert.match(
    await messageOf(async () => readVolume(await put('claim.nii.gz', gzipSync(new Uint8Array(header))))),
    /claim\.nii\.gz: truncated: its header asks for 171798\d+ bytes, which \d+ compressed bytes cannot hold/,
  );
  const bomb = gzipSync(Buffer.concat([new Uint8Array(made().header), Buffer.alloc(2 ** 25)]));
  await put('bomb.nii.gz', bomb);
  assert.match(await messageOf(() => readVolume(at('bomb.nii.gz'))), /bomb\.nii\.gz: more than 16777216 bytes follow the image/);
});

test('landmarks are read by path', async () => {
  assert.equal([...(await readLandmarks(await put('l.csv', 'i,j,k,i,j,k\n1,2,3,4,5,6'))).moving], [4, 5, 6]);
  assert.ok((await messageOf(async () => readLandmarks(await put('bad.csv', '1,2,3')))).startsWith(`${at('bad.csv')}:1: `));
  assert.ok((await messageOf(() => readLandmarks(at('none.csv')))).startsWith(`${at('none.csv')}: no such file`));
});

test('writeNifti gzips to one member that reads back, over several blocks', async () => {
  const size: [number, number, number] = [160, 120, 100];
  const data = Float32Array.from({ length: 3 * 160 * 120 * 100 }, (_, n) => Math.sin(n / 1000));
  const bytes = encodeDisplacement({ size, affine: IDENTITY, data });
  assert.ok(bytes.length > 2 * 2 ** 23);
  await Promise.all([writeNifti(at('u.nii'), bytes), writeNifti(at('u.nii.gz'), bytes)]);
  const [plain, zipped] = await Promise.all([readFile(at('u.nii')), readFile(at('u.nii.gz'))]);
  assert.is(Buffer.compare(plain, bytes), 0);
  assert.is(Buffer.compare(gunzipSync(zipped), bytes), 0);
  const body = inflateRawSync(zipped.subarray(10), { info: true }) as unknown as { engine: { bytesWritten: number } };
  assert.is(body.engine.bytesWritten, zipped.length - 18); // one deflate stream, then checksum and length
  const field = await readDisplacement(at('u.nii.gz'));
  assert.equal(field.size, size);
  const asBytes = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);
  assert.is(Buffer.compare(asBytes(field.data), asBytes(data)), 0);

  const image = encodeNifti({ size: [2, 1, 1], affine: IDENTITY, data: [3, 4], dtype: 'uint8' });
  await writeNifti(at('small.nii.gz'), image);
  assert.equal([...(await readVolume(at('small.nii.gz'))).data], [3, 4]);
});

test('writeAtomic replaces the file, or leaves nothing behind', async () => {
  await mkdir(at('out/taken/inside'), { recursive: true });
  await writeAtomic(at('out/a.txt'), 'first, and longer');
  await writeAtomic(at('out/a.txt'), 'second');
  await writeAtomic(at('out/b.txt'), [Buffer.from('in '), Buffer.from('parts')]);
  assert.is(await readFile(at('out/a.txt'), 'utf8'), 'second');
  assert.is(await readFile(at('out/b.txt'), 'utf8'), 'in parts');
  for (const [name, why] of [
    ['out/taken', /cannot write: /],
    ['out/none/a.txt', /cannot write: no such file or folder$/],
  ] as const) {
    const text = await messageOf(() => writeAtomic(at(name), 'x'));
    assert.ok(text.startsWith(`${at(name)}: `));
    assert.match(text, why);
  }
  assert.equal((await readdir(at('out'))).sort(), ['a.txt', 'b.txt', 'taken']);
});

test.run();
