/**
 * Messages are spread over so many buckets by their key; relays share the buckets among themselves, and transports
 * spread partitions by them. Fixed for the life of a store: another number would send a key's next message another way.
 */
export const BUCKETS = 64

const encoder = new TextEncoder()

/**
 * The bucket of a key: FNV-1a over its UTF-8 bytes, the same on every machine and in every version.
 */
export function bucketOf(key: string): number {
  let hash = 0x811c9dc5
  let at = 0
  // Most keys are ASCII, whose bytes need not be made.
  for (; at < key.length && key.charCodeAt(at) < 0x80; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193)
  if (at < key.length) for (const byte of encoder.encode(key.slice(at))) hash = Math.imul(hash ^ byte, 0x01000193)
  hash >>>= 0
  // The low bits of FNV-1a alone are its weakest.
  return ((hash >>> 16) ^ hash) & (BUCKETS - 1)
}
