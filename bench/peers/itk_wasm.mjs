// elastix as ITK-Wasm brings it to Node: node itk_wasm.mjs FOLDER FIXED MOVING OUT PARAMETERS…
// FOLDER has the packages in node_modules. Writes the warped image (result.nii) and the transforms (transform.json) into OUT.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, fixedPath, movingPath, out, ...files] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(resolve(folder, 'node_modules/@itk-wasm', name, 'dist/index-node.js')).href);
const [{ elastixNode }, { readImageNode, writeImageNode }] = await Promise.all([load('elastix'), load('image-io')]);

/** (Key value "text") lines as { Key: ['value', 'text'] }. */
const parameters = (path) =>
  Object.fromEntries(
    [...readFileSync(path, 'utf8').matchAll(/^\((\S+)\s+(.*?)\s*\)/gm)].map(([, key, values]) => [
      key,
      values.match(/"[^"]*"|\S+/g).map((value) => value.replace(/^"|"$/g, '')),
    ]),
  );
const read = async (path) => {
  const image = await readImageNode(path);
  return { ...image, imageType: { ...image.imageType, componentType: 'float32' }, data: Float32Array.from(image.data) };
};

const [fixed, moving] = [await read(fixedPath), await read(movingPath)];
const { result, transformParameterObject } = await elastixNode(files.map(parameters), { fixed, moving });
await writeImageNode(result, join(out, 'result.nii'));
writeFileSync(join(out, 'transform.json'), JSON.stringify(transformParameterObject));
