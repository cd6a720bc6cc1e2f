import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Headers, type HeaderValue, Timestamp } from './headers.ts'
import { headersFromJson, headersToJson } from './headers-json.ts'

const { headers } = fc.letrec<{ value: HeaderValue; headers: Headers }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constant(null),
    fc.boolean(),
    fc.double(),
    fc.integer(),
    fc.bigInt(),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array(),
    fc.nat().map((ms) => new Timestamp(ms)),
    fc.array(tie('value'), { maxLength: 3 }),
    tie('headers'),
  ),
  headers: fc.array(fc.tuple(fc.string(), tie('value')), { maxLength: 4 }).map((entries) => new Map(entries)),
}))

test('headers of any shape survive a definition, names like "__proto__" too', () => {
  fc.assert(
    fc.property(headers, (original) => {
      const json = JSON.parse(JSON.stringify(headersToJson(original))) as ReturnType<typeof headersToJson>
      expect(headersFromJson(json)).toEqual(original)
    }),
  )
  const odd: Headers = new Map<string, HeaderValue>([
    ['__proto__', Number.NaN],
    ['constructor', -0],
  ])
  expect(headersFromJson(headersToJson(odd))).toEqual(odd)
})
