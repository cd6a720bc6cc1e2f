import { type Headers, type HeaderValue, Timestamp } from './headers.ts'

/** A header value as JSON: what JSON has no word for is an object with one key. */
export type JsonValue = null | boolean | string | number | { readonly [kind: string]: unknown } | readonly JsonValue[]

export function headersToJson(headers: Headers): [string, JsonValue][] {
  return Array.from(headers, ([name, value]) => [name, valueToJson(value)])
}

export function headersFromJson(json: readonly (readonly [string, JsonValue])[]): Headers {
  return new Map(json.map(([name, value]) => [name, valueFromJson(value)]))
}

function valueToJson(value: HeaderValue): JsonValue {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'number')
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { number: Object.is(value, -0) ? '-0' : String(value) }
  if (typeof value === 'bigint') return { integer: value.toString() }
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('base64') }
  if (value instanceof Timestamp) return { timestamp: value.ms }
  if (value instanceof Map) return { headers: headersToJson(value) }
  return (value as readonly HeaderValue[]).map(valueToJson)
}

function valueFromJson(json: JsonValue): HeaderValue {
  if (json === null || typeof json !== 'object') return json
  if (Array.isArray(json)) return json.map(valueFromJson)
  const tagged = json as { readonly [kind: string]: unknown }
  if (typeof tagged.number === 'string') return tagged.number === '-0' ? -0 : Number(tagged.number)
  if (typeof tagged.integer === 'string') return BigInt(tagged.integer)
  if (typeof tagged.bytes === 'string') return new Uint8Array(Buffer.from(tagged.bytes, 'base64'))
  if (typeof tagged.timestamp === 'number') return new Timestamp(tagged.timestamp)
  return headersFromJson((tagged.headers ?? []) as [string, JsonValue][])
}
