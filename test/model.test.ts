// A model's file: what goes in comes out, and whatever is wrong in one is refused by name.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeModel, encodeSafetensors, type Model, parseModel, parseSafetensors } from '../src/index.ts';
import { card, handMade } from './trained.ts';

const model = handMade(0.4, { iterations: [20, 10], tolerance: [0.002, 0.01] });
const { tensors, metadata } = parseSafetensors('m', encodeModel(model, card));
/** A file with other metadata, `undefined` removes an entry, and other weights. */
const file = (change: Record<string, string | undefined>, weights = tensors) =>
  encodeSafetensors(
    weights,
    Object.fromEntries(Object.entries({ ...metadata, ...change }).filter((entry): entry is [string, string] => entry[1] !== undefined)),
  );
const changed = (change: (weights: typeof tensors) => void) => {
  const weights = new Map(tensors);
  change(weights);
  return file({}, weights);
};

test('model and card come back as they went in', () => {
  const { values, ...rest } = model;
  for (const given of [model, { ...rest, values, iterations: undefined, tolerance: undefined }]) {
    const parsed = parseModel('m', encodeModel(given as Model, card));
    assert.equal(parsed.card, card);
    assert.equal([...parsed.model.values], [...values]);
    assert.equal(JSON.stringify({ ...parsed.model, values: 0 }), JSON.stringify({ ...given, values: 0 }, Object.keys({ ...rest, values })));
  }
});

test('what is wrong is refused by name', () => {
  for (const [bytes, message] of [
    [new TextEncoder().encode('no model'), /^w: .*no \.safetensors file|^w: a header of/],
    [encodeSafetensors(tensors), /^w: no deqreg model: its metadata has no deqreg_model/],
    [file({ deqreg_model: undefined }), /^w: no deqreg model/],
    [file({ deqreg_model: '2' }), /^w: a model of format 2, this deqreg reads 1; install a newer one/],
    [file({ deqreg_model: 'x' }), /^w: a model of format x/],
    [file({ cell: 'unet' }), /^w: model: cell unet is none of deqreg, gradirn/],
    [file({ cell: undefined }), /^w: model: cell undefined is none of/],
    [file({ channels: '0' }), /^w: model: deqreg: channels must be a whole number above 0, got 0/],
    [file({ channels: '5' }), /^w: model: parameter enter\.weight is \[5,8,3,3,3\], the value \[4,8,3,3,3\]/],
    [file({ window: '8' }), /^w: model: window must be an odd whole number/],
    [file({ modality: 'pet' }), /^w: model: modality pet is none of mri, ct/],
    [file({ iterations: '[1,0]' }), /^w: model: iterations must be a list.*got \[1,0\]/],
    [file({ iterations: '20' }), /^w: model: iterations must be a list/],
    [file({ tolerance: '[' }), /^w: metadata tolerance is no JSON/],
    [file({ card: undefined }), /^w: its metadata has no card/],
    [file({ card: '[]' }), /^w: card: no JSON object/],
    [file({ card: JSON.stringify({ ...card, licence: 1, hours: 'two' }) }), /^w: card: licence, hours missing or of another kind/],
    [changed((weights) => weights.delete('join.bias')), /^w: model: parameters: missing join\.bias; unknown none/],
    [changed((weights) => weights.set('more', weights.get('join.bias')!)), /^w: model: parameters: missing none; unknown more/],
    [
      changed((weights) => weights.set('join.bias', weights.get('leave.bias')!)),
      /^w: model: parameter join\.bias is \[4\], the value \[3\]/,
    ],
    [
      changed((weights) => weights.set('leave.bias', { shape: [3], data: Float32Array.of(0, NaN, 0) })),
      /^w: model: parameter leave\.bias has values that are not finite/,
    ],
  ] as [Uint8Array, RegExp][])
    assert.throws(
      () => parseModel('w', bytes),
      (error: Error) => message.test(error.message) || console.log(error.message),
    );
  assert.throws(() => encodeModel({ ...model, window: 2 }, card), /window must be/);
  assert.throws(() => encodeModel(model, { ...card, seed: NaN }), /card: seed missing/);
  for (const evaluations of [0, 1.5, NaN]) assert.throws(() => encodeModel(model, { ...card, evaluations }), /card: evaluations missing/);
});

test.run();
