import { Buffer } from 'node:buffer'

/** scrypt's cost. A hash takes about 0.1 s and 32 MiB of one thread, so that a stolen one is expensive to guess. */
export const SCRYPT_COST = { n: 2 ** 15, r: 8, p: 1 } as const

export const SALT_BYTES = 16
export const KEY_BYTES = 32

/** The stored verifier of a password: how it was derived, from which salt, and the result. */
export interface PasswordHash {
  readonly n: number
  readonly r: number
  readonly p: number
  readonly salt: Uint8Array
  readonly key: Uint8Array
}

/** `scrypt$N$r$p$salt$key`, the last two in base64. */
export function formatPasswordHash({ n, r, p, salt, key }: PasswordHash): string {
  return ['scrypt', n, r, p, base64(salt), base64(key)].join('$')
}

/** Undefined when the text is no hash of ours, or one whose cost is out of bounds. */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  const match = /^scrypt\$(\d{1,8})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)$/.exec(text)
  if (match === null) return undefined
  const [n, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])]
  // A cost from elsewhere must not make one login take the memory of the machine.
  const affordable = n >= 2 && (n & (n - 1)) === 0 && r >= 1 && p >= 1 && 128 * n * r * p <= MEMORY_BYTES_MAX
  return affordable
    ? { n, r, p, salt: Buffer.from(match[4]!, 'base64'), key: Buffer.from(match[5]!, 'base64') }
    : undefined
}

/** Memory that deriving one key may take, four times the present cost. */
export const MEMORY_BYTES_MAX = 128 * 1024 * 1024

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}
