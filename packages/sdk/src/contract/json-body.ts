import { Buffer } from 'node:buffer'
import type { BodyFormat } from './body-format.ts'

const decoder = new TextDecoder('utf-8', { fatal: true })

/**
 * Bodies in JSON, the default: what `JSON.stringify` makes of the data, in UTF-8. Dates become texts as they do there, so
 * the schema has to read a text (`z.coerce.date()`).
 */
export const json: BodyFormat = {
  contentType: 'application/json',
  reads: (mediaType) => mediaType === 'application/json' || mediaType.endsWith('+json'),
  encode(data) {
    const text = JSON.stringify(data) as string | undefined
    if (text === undefined) throw new TypeError(`${typeof data} has no form in JSON`)
    return Buffer.from(text)
  },
  decode: (body) => JSON.parse(decoder.decode(body)) as unknown,
  shape: () => ({ format: 'json' }),
}
