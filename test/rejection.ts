/** The message that a promise is rejected with. */
export const rejection = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'nothing was refused',
    (error: Error) => error.message,
  );
