import type { History } from './death.ts'

/** What few messages have, behind the fixed part of their record. Unknown tags are skipped. */
export interface Extension {
  readonly history?: History
}

/** Tag of the history: JSON in UTF-8. Tags 2 to 6 are set aside for key, group key, dedup id, deliver-at and producer. */
const TAG_HISTORY = 1

const UTF8_OUT = new TextEncoder()
const UTF8_IN = new TextDecoder()
const NOTHING = new Uint8Array(0)

/** `tag u8 | length u32 | bytes`, one after another. Nothing to say takes no bytes. */
export function encodeExtension(extension: Extension): Uint8Array {
  if (extension.history === undefined || extension.history.deaths.length === 0) return NOTHING
  const json = UTF8_OUT.encode(JSON.stringify(extension.history))
  const bytes = new Uint8Array(5 + json.length)
  bytes[0] = TAG_HISTORY
  new DataView(bytes.buffer).setUint32(1, json.length, true)
  bytes.set(json, 5)
  return bytes
}

export function decodeExtension(bytes: Uint8Array): Extension {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  while (at + 5 <= bytes.length) {
    const length = view.getUint32(at + 1, true)
    if (bytes[at] === TAG_HISTORY) {
      return { history: JSON.parse(UTF8_IN.decode(bytes.subarray(at + 5, at + 5 + length))) as History }
    }
    at += 5 + length
  }
  return {}
}
