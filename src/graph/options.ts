/** Throws on options that are none, so that a misspelt one is not passed over; `group.` names the one that they are in. */
export function checkOptions(where: string, given: object, names: readonly string[], group = ''): void {
  const unknown = Object.keys(given).filter((name) => !names.includes(name));
  if (unknown.length) throw new Error(`${where}: unknown option ${group}${unknown.join(', ')}; there are ${names.join(', ')}`);
}

/** Throws on what is given as a signal and is none. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && typeof signal?.throwIfAborted !== 'function')
    throw new Error(`signal must be an AbortSignal, such as the \`signal\` of an AbortController, got ${signal}`);
}
