import avsc from 'avsc'
import { TimestampSchema } from '@bufbuild/protobuf/wkt'
import { assert, asyncProperty, uint8Array } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'
import { avro, avroUpcast } from './avro-body.ts'
import type { Contract, Encoded } from './contract.ts'
import { event } from './event.ts'
import { protobuf } from './protobuf-body.ts'

const first = avsc.Type.forSchema({
  type: 'record',
  name: 'Measured',
  fields: [
    { name: 'sensor', type: 'string' },
    { name: 'value', type: 'int' },
  ],
})
const second = avsc.Type.forSchema({
  type: 'record',
  name: 'Measured',
  fields: [
    { name: 'sensor', type: 'string' },
    { name: 'value', type: 'double' },
    { name: 'unit', type: 'string', default: 'C' },
  ],
})
const Measured = event('measured', z.object({ sensor: z.string(), value: z.number().int() })).body(avro(first))
const MeasuredTwo = Measured.next(
  z.object({ sensor: z.string(), value: z.number(), unit: z.string() }),
  avroUpcast(first, second),
).body(avro(second))
const Ticked = event('ticked', z.object({ seconds: z.bigint(), nanos: z.number() })).body(protobuf(TimestampSchema))

function messageOf(contract: Contract, { version, contentType, body }: Encoded): Message {
  return {
    id: '1',
    kind: contract.kind,
    type: contract.name,
    version,
    source: 'lab',
    time: 0,
    key: null,
    keySeq: null,
    contentType,
    body,
    metadata: { correlationId: '1' },
  }
}

describe('Avro', () => {
  test('bodies are Avro without a container, for every reader that has the schema', async () => {
    const encoded = await Measured.encode({ sensor: 'k1', value: 21 })
    expect(encoded.contentType).toBe('avro/binary')
    expect(first.fromBuffer(Buffer.from(encoded.body))).toEqual({ sensor: 'k1', value: 21 })
    expect(await Measured.decode(messageOf(Measured, encoded))).toEqual({ sensor: 'k1', value: 21 })
  })

  test("each version is read by its own schema, and raised by Avro's rules of resolution", async () => {
    const old = messageOf(Measured, await Measured.encode({ sensor: 'k1', value: 21 }))
    expect(await MeasuredTwo.decode(old)).toEqual({ sensor: 'k1', value: 21, unit: 'C' })
    const newest = await MeasuredTwo.encode({ sensor: 'k1', value: 2.5, unit: 'K' })
    expect(await MeasuredTwo.decode(messageOf(MeasuredTwo, newest))).toEqual({ sensor: 'k1', value: 2.5, unit: 'K' })
  })

  test('schemas that cannot be resolved are found at the declaration', () => {
    expect(() => avroUpcast(avsc.Type.forSchema('string'), first)).toThrow(
      /Avro cannot read what "string" wrote as .*upcaster of your own/,
    )
  })

  test('a contract can go from JSON to Avro with a version', async () => {
    const Json = event('measured', z.object({ sensor: z.string(), value: z.number() }))
    const Next = Json.next(z.object({ sensor: z.string(), value: z.number() }), (old) => old).body(avro(first))
    const old = messageOf(Json, await Json.encode({ sensor: 'k1', value: 1 }))
    expect(await Next.decode(old)).toEqual({ sensor: 'k1', value: 1 })
    expect(await Next.encode({ sensor: 'k1', value: 1 })).toMatchObject({ version: 2, contentType: 'avro/binary' })
  })

  test('data that the schema cannot hold is refused by the sender', async () => {
    await expect(Measured.encode({ sensor: 'k1', value: 2 ** 40 })).rejects.toMatchObject({ code: 'invalid_data' })
  })
})

describe('Protobuf', () => {
  test('bodies are Protobuf, for every reader that has the descriptor', async () => {
    const encoded = await Ticked.encode({ seconds: 5n, nanos: 7 })
    // Field 1 as varint 5, field 2 as varint 7.
    expect([...encoded.body]).toEqual([0x08, 5, 0x10, 7])
    expect(encoded.contentType).toBe('application/x-protobuf')
    expect(await Ticked.decode(messageOf(Ticked, encoded))).toEqual({ seconds: 5n, nanos: 7 })
  })

  test('unknown fields of a newer sender are passed over', async () => {
    const encoded = await Ticked.encode({ seconds: 5n, nanos: 7 })
    const body = Uint8Array.of(...encoded.body, 0x18, 1)
    expect(await Ticked.decode({ ...messageOf(Ticked, encoded), body })).toEqual({ seconds: 5n, nanos: 7 })
  })

  test('its shape names its fields', () => {
    expect(protobuf(TimestampSchema).shape()).toEqual({
      format: 'protobuf',
      message: 'google.protobuf.Timestamp',
      fields: [
        { number: 1, name: 'seconds', type: 'int64' },
        { number: 2, name: 'nanos', type: 'int32' },
      ],
    })
  })
})

test.each([
  ['JSON', event('any', z.object({ a: z.array(z.string()) }))],
  ['Avro', MeasuredTwo],
  ['Protobuf', Ticked],
] as [string, Contract][])('random bytes as a body of %s throw nothing but SdkError', async (_, contract) => {
  const { contentType } = (contract as typeof Measured).versions.at(-1)!.format
  await assert(
    asyncProperty(uint8Array({ maxLength: 60 }), async (body) => {
      const message = messageOf(contract, { version: contract.version, contentType, body, key: null })
      await contract.decode(message).catch((error: unknown) => expect(error).toBeInstanceOf(SdkError))
    }),
  )
})
