import type { MessageView } from '@stathmos/engine'
import type { Wired } from '../../wire/wire-form.ts'

/**
 * The kind of opaque bytes that a message of the SDK has at the engine: the JSON text `[contentType, headers]`. The
 * number is kept on disk; protocols of the broker count from 1.
 */
export const SDK_ORIGIN_KIND = 100

const UTF8 = new TextEncoder()
const TEXT = new TextDecoder()

/** What travels beside the body. */
export function encodeEnvelope({ contentType, headers }: Wired): Uint8Array {
  return UTF8.encode(JSON.stringify([contentType, headers]))
}

/** A copy of a stored message. One that another protocol sent has no headers that anybody here can read. */
export function readWired(message: MessageView): Wired {
  const body = message.body()
  if (message.originKind !== SDK_ORIGIN_KIND) return { headers: {}, contentType: '', body }
  const origin = message.bytes.subarray(message.originStart, message.originEnd)
  const [contentType, headers] = JSON.parse(TEXT.decode(origin)) as [string, Record<string, string>]
  return { headers, contentType, body }
}
