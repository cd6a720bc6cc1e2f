import { createSecretKey, type KeyObject } from 'node:crypto'
import { SdkError } from '../errors.ts'

/** Bytes of a key: AES-256. */
const KEY_BYTES = 32

/** A key's name is written into every body. Without slashes: a name that a stranger sent may be looked up as a file's. */
const KEY_ID = /^[\w.:-]{1,100}$/

/** A key by its name. */
export interface BodyKey {
  readonly id: string
  /** 32 bytes. */
  readonly key: Uint8Array | KeyObject
}

/**
 * Where keys are: in the program's secrets, a file, a service for keys. It is asked for each body, within the sender's
 * transaction, so an implementation keeps what it has fetched. What it throws counts as not reachable: a sender fails with
 * it, and a message that was received is tried again later.
 */
export interface BodyKeys {
  /** The key that bodies are encrypted with from now on. */
  current(): BodyKey | Promise<BodyKey>
  /**
   * The key of that name, as long as bodies that it encrypted may lie anywhere; null when there is none. It was read from a
   * body that nothing vouches for yet: 1 to 100 letters, digits, dots, colons, hyphens and underscores.
   */
  find(id: string): BodyKey['key'] | null | Promise<BodyKey['key'] | null>
}

/**
 * Keys that the program has at hand.
 *
 * @param keys 32 bytes each, by their names; copied
 * @param current the name of the one to encrypt with
 * @throws {SdkError} `invalid_declaration`
 */
export function keyRing(keys: Readonly<Record<string, Uint8Array>>, current: string): BodyKeys {
  const ring = new Map(Object.entries(keys).map(([id, key]) => [id, secret({ id, key })]))
  const key = ring.get(current)
  if (key === undefined)
    throw new SdkError(
      'invalid_declaration',
      `there is no key "${current}" to encrypt with, only ${[...ring.keys()].map((id) => `"${id}"`).join(', ') || 'none'}; name one of the keys`,
    )
  return { current: () => ({ id: current, key }), find: (id) => ring.get(id) ?? null }
}

/** Whether a key can have this name. */
export function isKeyId(id: string): boolean {
  return KEY_ID.test(id)
}

/**
 * A key that can be used, and shows nothing of itself when it is printed.
 *
 * @throws {SdkError} `invalid_declaration`
 */
export function secret({ id, key }: BodyKey): KeyObject {
  if (!isKeyId(id))
    throw new SdkError(
      'invalid_declaration',
      `${JSON.stringify(id.slice(0, 40))} cannot name a key; write 1 to 100 letters, digits, dots, colons, hyphens and underscores`,
    )
  const made = key instanceof Uint8Array ? createSecretKey(key) : key
  if (made.type !== 'secret' || made.symmetricKeySize !== KEY_BYTES)
    throw new SdkError(
      'invalid_declaration',
      `the key "${id}" has ${made.symmetricKeySize ?? 'no'} bytes and needs ${KEY_BYTES}; make one with randomBytes(${KEY_BYTES}) of node:crypto`,
    )
  return made
}
