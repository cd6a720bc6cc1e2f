import { SdkError } from './errors.ts'

/** A package that the program installs itself, because not every service needs it. */
export interface Peer<T> {
  /** As npm knows it. */
  readonly name: string
  /** Who needs it, in the plural, for the message. */
  readonly what: string
  /** Imports it: `() => import('croner')`, so that bundlers see which one it is. */
  readonly load: () => Promise<T>
  /** Exports that are used, by which a version that is too old is found out before it is called. */
  readonly needs: readonly (keyof T & string)[]
}

/**
 * Loads a peer.
 *
 * @throws {SdkError} `peer_missing` when the package is not there; `peer_unusable` when it is and cannot be loaded or
 * lacks what is needed. The cause is what the import said.
 */
export async function loadPeer<T extends object>({ name, what, load, needs }: Peer<T>): Promise<T> {
  let module: T
  try {
    module = await load()
  } catch (cause) {
    const data = { peer: name }
    if (isAbsent(cause, name))
      throw new SdkError('peer_missing', `${what} need the package ${name}: npm install ${name}`, { data, cause })
    const reason = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)
    const text = `${what} need the package ${name}, which is there and cannot be loaded (${reason}); does it fit this Node, and is it whole? npm install ${name}@latest`
    throw new SdkError('peer_unusable', text, { data, cause })
  }
  const missing = needs.filter((each) => module[each] === undefined)
  if (missing.length === 0) return module
  const text = `${what} need the package ${name} with ${missing.join(', ')}, which the installed version does not have: npm install ${name}@latest`
  throw new SdkError('peer_unusable', text, { data: { peer: name, missing } })
}

/** Node and bundlers name what they did not find in quotes: this package, or one that it needs itself. */
function isAbsent(error: unknown, name: string): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  if (error.code !== 'ERR_MODULE_NOT_FOUND' && error.code !== 'MODULE_NOT_FOUND') return false
  return error.message.includes(`'${name}'`) || error.message.includes(`"${name}"`)
}
