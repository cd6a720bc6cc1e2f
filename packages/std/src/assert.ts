/** A promise of our own code was broken: the state can no longer be trusted and the process must stop. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** Stops on a broken promise of our own code. Never for bad input, which has errors of its own. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}
