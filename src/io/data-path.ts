// Paths, without Node: of a data list, joined to the list's folder; the frames that they name, and the names of people found in them.

const ABSOLUTE = /^([/\\]|[a-z]:[/\\])/i;
const parts = (path: string) => path.split(/[/\\]/);

/** A path in a file, seen from where that file's own path is; one file has one path, however it is written. */
export function resolvePath(file: string, path: string): string {
  const joined: string[] = [];
  for (const part of [...(ABSOLUTE.test(path) ? [] : parts(file).slice(0, -1)), ...parts(path)])
    if (part === '..' && joined.length && !['', '..'].includes(joined.at(-1)!)) joined.pop();
    else if (part !== '.' && (part || !joined.length)) joined.push(part);
  return joined.join('/');
}

/** The file of a path and, where one stands behind it in brackets, the frame of that 4-D image, counted from 0: cine.nii.gz[9]. */
export function frameIn(path: string): { file: string; frame?: number } {
  const [, file, frame] = /^(.*\.(?:nii|hdr|img)(?:\.gz)?)\[(\d+)\]$/i.exec(path) ?? [];
  return file === undefined ? { file: path } : { file, frame: Number(frame) };
}

/** The file's name without its ending. */
export const nameOf = (path: string): string =>
  parts(frameIn(path).file)
    .at(-1)!
    .replace(/\.(nii|hdr|img|json)(\.gz)?$/i, '');

/** The name of the folder that the file is in. */
export const parentOf = (path: string): string => parts(path).at(-2) ?? '';

/** Learn2Reg's label map of an image: folder/imagesTr/a.nii.gz → folder/labelsTr/a.nii.gz; undefined for images elsewhere. */
export function besideLabel(image: string): string | undefined {
  const found = /^(.*[/\\])?images(\w*)([/\\][^/\\]+)$/.exec(image);
  return found ? `${found[1] ?? ''}labels${found[2]}${found[3]}` : undefined;
}
