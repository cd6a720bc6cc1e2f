import { malformed } from './field.ts'

// A byte order mark is no JSON: kept, so that a body with one is carried as bytes and comes out with it.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

/** The body of a message that is one JSON object. */
export function objectOf(body: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(body))
  } catch (cause) {
    throw malformed('body', 'is no JSON; this form needs a JSON object', cause)
  }
  if (!isObject(value)) throw malformed('body', 'is no JSON object')
  return value
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function jsonBytes(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value))
}

function isJson(contentType: string): boolean {
  const mediaType = contentType.split(';', 1)[0]!.trim().toLowerCase()
  return mediaType === 'application/json' || mediaType.endsWith('+json')
}

/**
 * A body as a member of a JSON object: `data` when it is JSON that comes out the same, byte for byte; otherwise
 * `data_base64`. (JSON with blanks, with numbers beyond a double, or with a name twice would not.)
 */
export function dataOf(contentType: string, body: Uint8Array): { data: unknown } | { data_base64: string } {
  if (isJson(contentType)) {
    try {
      const written = decoder.decode(body)
      const data: unknown = JSON.parse(written)
      if (JSON.stringify(data) === written) return { data }
    } catch {
      // No JSON in spite of its content type: carried as bytes.
    }
  }
  return { data_base64: Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('base64') }
}

/** The opposite of {@link dataOf}; null when the object has neither member. */
export function bodyOf(object: Readonly<Record<string, unknown>>, contentType: string): Uint8Array | null {
  const { data, data_base64: base64 } = object
  if (base64 !== undefined && base64 !== null) {
    if (typeof base64 !== 'string' || base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(base64))
      throw malformed('data_base64', 'is no Base64 (RFC 4648 §4)')
    return new Uint8Array(Buffer.from(base64, 'base64'))
  }
  if (data === undefined) return null
  if (isJson(contentType)) return jsonBytes(data)
  if (typeof data === 'string') return encoder.encode(data)
  throw malformed('data', `is no text, but its content type is ${contentType}; send data_base64`)
}
