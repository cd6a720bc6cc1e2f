import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ProtocolError, REPLY } from './errors.ts'
import { FRAME_END, FRAME_METHOD, FrameScan } from './frame.ts'
import { METHOD_ID, decodeMethod, encodeMethod } from './methods.gen.ts'
import type { Method } from './methods.gen.ts'
import { octets, viewOf } from './octets.ts'
import { OutputBuffer } from './output-buffer.ts'
import { EMPTY_TABLE } from './table.ts'
import type { Table } from './table.ts'

const ttl: Table = new Map([['x-message-ttl', { type: 'I', value: 60_000 }]])
const ttlOctets = `00000013 0d'x-message-ttl' 'I' 0000ea60`
const noTable = '00000000 [no arguments]'

/** One sample for every method: its payload, and the values in it. */
const samples: readonly [payload: string, method: Method][] = [
  [
    `000a 000a [connection.start] 00 09 ${ttlOctets} 0000000e'PLAIN AMQPLAIN' 00000005'en_US'`,
    {
      name: 'connection.start',
      versionMajor: 0,
      versionMinor: 9,
      serverProperties: ttl,
      mechanisms: 'PLAIN AMQPLAIN',
      locales: 'en_US',
    },
  ],
  [
    `000a 000b [connection.start-ok] ${noTable} 05'PLAIN' 0000000c 00'guest'00'guest' 05'en_US'`,
    {
      name: 'connection.start-ok',
      clientProperties: EMPTY_TABLE,
      mechanism: 'PLAIN',
      response: octets(`00'guest'00'guest'`),
      locale: 'en_US',
    },
  ],
  [`000a 0014 [connection.secure] 00000002 fffe`, { name: 'connection.secure', challenge: octets('fffe') }],
  [`000a 0015 [connection.secure-ok] 00000000`, { name: 'connection.secure-ok', response: octets('') }],
  [
    `000a 001e [connection.tune] 07ff 00020000 003c`,
    { name: 'connection.tune', channelMax: 2047, frameMax: 131_072, heartbeat: 60 },
  ],
  [
    `000a 001f [connection.tune-ok] ffff ffffffff 0000`,
    { name: 'connection.tune-ok', channelMax: 65_535, frameMax: 4_294_967_295, heartbeat: 0 },
  ],
  [
    `000a 0028 [connection.open] 06'/ünit' 00 [capabilities] 00 [insist]`,
    { name: 'connection.open', virtualHost: '/ünit' },
  ],
  [`000a 0029 [connection.open-ok] 00 [known hosts]`, { name: 'connection.open-ok' }],
  [
    `000a 0032 [connection.close] 0140 03'bye' 0032 000a`,
    { name: 'connection.close', replyCode: 320, replyText: 'bye', classId: 50, methodId: 10 },
  ],
  [`000a 0033 [connection.close-ok]`, { name: 'connection.close-ok' }],
  [`000a 003c [connection.blocked] 08'low disk'`, { name: 'connection.blocked', reason: 'low disk' }],
  [`000a 003d [connection.unblocked]`, { name: 'connection.unblocked' }],
  [
    `000a 0046 [connection.update-secret] 00000003 'key' 07'renewal'`,
    { name: 'connection.update-secret', newSecret: octets(`'key'`), reason: 'renewal' },
  ],
  [`000a 0047 [connection.update-secret-ok]`, { name: 'connection.update-secret-ok' }],
  [`0014 000a [channel.open] 00 [out of band]`, { name: 'channel.open' }],
  [`0014 000b [channel.open-ok] 00000000 [channel id]`, { name: 'channel.open-ok' }],
  [`0014 0014 [channel.flow] 01`, { name: 'channel.flow', active: true }],
  [`0014 0015 [channel.flow-ok] 00`, { name: 'channel.flow-ok', active: false }],
  [
    `0014 0028 [channel.close] 0194 02'no' 0032 0014`,
    { name: 'channel.close', replyCode: 404, replyText: 'no', classId: 50, methodId: 20 },
  ],
  [`0014 0029 [channel.close-ok]`, { name: 'channel.close-ok' }],
  [
    `001e 000a [access.request] 05'/data' 15 [exclusive, active, read]`,
    { name: 'access.request', realm: '/data', exclusive: true, passive: false, active: true, write: false, read: true },
  ],
  [`001e 000b [access.request-ok] 0001`, { name: 'access.request-ok', ticket: 1 }],
  [
    `0028 000a [exchange.declare] 0000 06'events' 05'topic' 0a [durable, internal] ${noTable}`,
    {
      name: 'exchange.declare',
      exchange: 'events',
      type: 'topic',
      passive: false,
      durable: true,
      autoDelete: false,
      internal: true,
      noWait: false,
      arguments: EMPTY_TABLE,
    },
  ],
  [`0028 000b [exchange.declare-ok]`, { name: 'exchange.declare-ok' }],
  [
    `0028 0014 [exchange.delete] 0000 06'events' 01 [if unused]`,
    { name: 'exchange.delete', exchange: 'events', ifUnused: true, noWait: false },
  ],
  [`0028 0015 [exchange.delete-ok]`, { name: 'exchange.delete-ok' }],
  [
    `0028 001e [exchange.bind] 0000 02'to' 04'from' 03'a.#' 00 ${ttlOctets}`,
    { name: 'exchange.bind', destination: 'to', source: 'from', routingKey: 'a.#', noWait: false, arguments: ttl },
  ],
  [`0028 001f [exchange.bind-ok]`, { name: 'exchange.bind-ok' }],
  [
    `0028 0028 [exchange.unbind] 0000 02'to' 04'from' 03'a.#' 01 [no wait] ${noTable}`,
    {
      name: 'exchange.unbind',
      destination: 'to',
      source: 'from',
      routingKey: 'a.#',
      noWait: true,
      arguments: EMPTY_TABLE,
    },
  ],
  [`0028 0033 [exchange.unbind-ok: 51, not 41]`, { name: 'exchange.unbind-ok' }],
  [
    `0032 000a [queue.declare] 0000 06'orders' 16 [durable, exclusive, no wait] ${ttlOctets}`,
    {
      name: 'queue.declare',
      queue: 'orders',
      passive: false,
      durable: true,
      exclusive: true,
      autoDelete: false,
      noWait: true,
      arguments: ttl,
    },
  ],
  [
    `0032 000b [queue.declare-ok] 06'orders' 00000002 00000001`,
    { name: 'queue.declare-ok', queue: 'orders', messageCount: 2, consumerCount: 1 },
  ],
  [
    `0032 0014 [queue.bind] 0000 06'orders' 06'events' 07'order.*' 00 ${noTable}`,
    {
      name: 'queue.bind',
      queue: 'orders',
      exchange: 'events',
      routingKey: 'order.*',
      noWait: false,
      arguments: EMPTY_TABLE,
    },
  ],
  [`0032 0015 [queue.bind-ok]`, { name: 'queue.bind-ok' }],
  [`0032 001e [queue.purge] 0000 06'orders' 01`, { name: 'queue.purge', queue: 'orders', noWait: true }],
  [`0032 001f [queue.purge-ok] 00000007`, { name: 'queue.purge-ok', messageCount: 7 }],
  [
    `0032 0028 [queue.delete] 0000 06'orders' 02 [if empty]`,
    { name: 'queue.delete', queue: 'orders', ifUnused: false, ifEmpty: true, noWait: false },
  ],
  [`0032 0029 [queue.delete-ok] ffffffff`, { name: 'queue.delete-ok', messageCount: 4_294_967_295 }],
  [
    `0032 0032 [queue.unbind] 0000 06'orders' 06'events' 00 ${ttlOctets}`,
    { name: 'queue.unbind', queue: 'orders', exchange: 'events', routingKey: '', arguments: ttl },
  ],
  [`0032 0033 [queue.unbind-ok]`, { name: 'queue.unbind-ok' }],
  [
    `003c 000a [basic.qos] 00000000 0064 01 [global]`,
    { name: 'basic.qos', prefetchSize: 0, prefetchCount: 100, global: true },
  ],
  [`003c 000b [basic.qos-ok]`, { name: 'basic.qos-ok' }],
  [
    `003c 0014 [basic.consume] 0000 06'orders' 02'c1' 06 [no ack, exclusive] ${noTable}`,
    {
      name: 'basic.consume',
      queue: 'orders',
      consumerTag: 'c1',
      noLocal: false,
      noAck: true,
      exclusive: true,
      noWait: false,
      arguments: EMPTY_TABLE,
    },
  ],
  [`003c 0015 [basic.consume-ok] 02'c1'`, { name: 'basic.consume-ok', consumerTag: 'c1' }],
  [`003c 001e [basic.cancel] 02'c1' 01`, { name: 'basic.cancel', consumerTag: 'c1', noWait: true }],
  [`003c 001f [basic.cancel-ok] 02'c1'`, { name: 'basic.cancel-ok', consumerTag: 'c1' }],
  [
    `003c 0028 [basic.publish] 0000 06'events' 03'a.b' 01 [mandatory]`,
    { name: 'basic.publish', exchange: 'events', routingKey: 'a.b', mandatory: true, immediate: false },
  ],
  [
    `003c 0032 [basic.return] 0138 08'NO_ROUTE' 06'events' 03'a.b'`,
    { name: 'basic.return', replyCode: 312, replyText: 'NO_ROUTE', exchange: 'events', routingKey: 'a.b' },
  ],
  [
    `003c 003c [basic.deliver] 02'c1' 001fffffffffffff 01 [redelivered] 00 06'orders'`,
    {
      name: 'basic.deliver',
      consumerTag: 'c1',
      deliveryTag: Number.MAX_SAFE_INTEGER,
      redelivered: true,
      exchange: '',
      routingKey: 'orders',
    },
  ],
  [`003c 0046 [basic.get] 0000 06'orders' 01 [no ack]`, { name: 'basic.get', queue: 'orders', noAck: true }],
  [
    `003c 0047 [basic.get-ok] 0000000000000001 00 06'events' 03'a.b' 00000009`,
    {
      name: 'basic.get-ok',
      deliveryTag: 1,
      redelivered: false,
      exchange: 'events',
      routingKey: 'a.b',
      messageCount: 9,
    },
  ],
  [`003c 0048 [basic.get-empty] 00 [cluster id]`, { name: 'basic.get-empty' }],
  [`003c 0050 [basic.ack] 0000000100000002 01`, { name: 'basic.ack', deliveryTag: 4_294_967_298, multiple: true }],
  [`003c 005a [basic.reject] 0000000000000003 01`, { name: 'basic.reject', deliveryTag: 3, requeue: true }],
  [`003c 0064 [basic.recover-async] 01`, { name: 'basic.recover-async', requeue: true }],
  [`003c 006e [basic.recover] 00`, { name: 'basic.recover', requeue: false }],
  [`003c 006f [basic.recover-ok]`, { name: 'basic.recover-ok' }],
  [
    `003c 0078 [basic.nack] 0000000000000004 02 [requeue]`,
    { name: 'basic.nack', deliveryTag: 4, multiple: false, requeue: true },
  ],
  [`0055 000a [confirm.select] 01`, { name: 'confirm.select', noWait: true }],
  [`0055 000b [confirm.select-ok]`, { name: 'confirm.select-ok' }],
  [`005a 000a [tx.select]`, { name: 'tx.select' }],
  [`005a 000b [tx.select-ok]`, { name: 'tx.select-ok' }],
  [`005a 0014 [tx.commit]`, { name: 'tx.commit' }],
  [`005a 0015 [tx.commit-ok]`, { name: 'tx.commit-ok' }],
  [`005a 001e [tx.rollback]`, { name: 'tx.rollback' }],
  [`005a 001f [tx.rollback-ok]`, { name: 'tx.rollback-ok' }],
]

function decode(bytes: Uint8Array): Method {
  return decodeMethod(viewOf(bytes), bytes, 0, bytes.length)
}

function failureOf(bytes: Uint8Array): unknown {
  try {
    return decode(bytes)
  } catch (error) {
    return error
  }
}

test('every method has a sample', () => {
  expect(samples.map(([, method]) => method.name)).toEqual(Object.keys(METHOD_ID))
})

describe.each(samples)('%s', (sample, method) => {
  const payload = octets(sample)

  test('is decoded to its values', () => {
    expect(decode(payload)).toEqual(method)
  })

  test('is decoded from the middle of a larger chunk, and owns what it keeps', () => {
    const chunk = Buffer.alloc(payload.length + 16, 0xff)
    chunk.set(payload, 5)
    const decoded = decodeMethod(viewOf(chunk), chunk, 5, 5 + payload.length)
    chunk.fill(0)
    expect(decoded).toEqual(method)
  })

  test('is encoded to a whole frame', () => {
    const out = new OutputBuffer(1)
    encodeMethod(out, 0x0102, method)
    const size = payload.length.toString(16).padStart(8, '0')
    expect(out.written()).toEqual(octets(`01 0102 ${size} ${Buffer.from(payload).toString('hex')} ce`))
  })

  test('cut short anywhere, it is a syntax error', () => {
    for (let size = 0; size < payload.length; size++) {
      expect(failureOf(payload.slice(0, size))).toBeInstanceOf(ProtocolError)
    }
  })

  test('followed by more octets, it is a syntax error', () => {
    const longer = new Uint8Array(payload.length + 1)
    longer.set(payload)
    expect(failureOf(longer)).toMatchObject({ name: 'ProtocolError', code: REPLY.syntaxError, offset: payload.length })
  })
})

test('an unknown method is named in the error [503 command-invalid]', () => {
  expect(failureOf(octets('003c 0079'))).toMatchObject({ code: 503, received: '60.121', offset: 0 })
})

test('a delivery tag that a number cannot hold exactly is refused', () => {
  expect(failureOf(octets('003c0050 0020000000000000 00'))).toMatchObject({ code: 502, received: '9007199254740992' })
})

test('a name that is not UTF-8 is refused', () => {
  expect(failureOf(octets(`0032001e 0000 02 c328 00`))).toMatchObject({ code: 502, expected: 'UTF-8', offset: 7 })
})

test('a byte order mark in a name is part of the name', () => {
  expect(decode(octets(`0032001e 0000 04 efbbbf'q' 00`))).toMatchObject({ queue: '\ufeffq' })
})

test('reserved fields may hold anything', () => {
  expect(decode(octets(`000a0028 01'/' 01'x' 01`))).toEqual({ name: 'connection.open', virtualHost: '/' })
  expect(decode(octets(`0032001e 1234 01'q' 00`))).toEqual({ name: 'queue.purge', queue: 'q', noWait: false })
})

test('a reply text of any length is cut at a character to fit a short string', () => {
  const out = new OutputBuffer(64)
  encodeMethod(out, 1, { name: 'channel.close', replyCode: 404, replyText: 'é'.repeat(200), classId: 0, methodId: 0 })
  const frame = new FrameScan()
  expect(frame.read(out.bytes, out.view, 0, out.length, 0)).toBe(true)
  expect(frame.type).toBe(FRAME_METHOD)
  const decoded = decodeMethod(out.view, out.bytes, frame.payloadStart, frame.payloadEnd)
  expect(decoded).toMatchObject({ replyText: 'é'.repeat(127) })
  expect(out.bytes[out.length - 1]).toBe(FRAME_END)
})

test('random octets never throw anything but ProtocolError', () => {
  const ids = fc.constantFrom(...Object.values(METHOD_ID))
  fc.assert(
    fc.property(ids, fc.uint8Array({ maxLength: 64 }), (id, fields) => {
      const bytes = new Uint8Array(4 + fields.length)
      viewOf(bytes).setUint32(0, id)
      bytes.set(fields, 4)
      const result = failureOf(bytes)
      expect(result instanceof Error ? result : undefined).toSatisfy(
        (error) => error === undefined || error instanceof ProtocolError,
      )
    }),
    { numRuns: 2000 },
  )
})

test('a sample with one octet changed decodes or is a ProtocolError, and what decodes can be written again', () => {
  const cases = fc.constantFrom(...samples.map(([sample]) => octets(sample)))
  fc.assert(
    fc.property(cases, fc.nat(), fc.nat(255), (payload, position, octet) => {
      const bytes = payload.slice()
      bytes[position % bytes.length] = octet
      const result = failureOf(bytes)
      if (result instanceof ProtocolError) return
      expect(result).not.toBeInstanceOf(Error)
      const out = new OutputBuffer(256)
      encodeMethod(out, 0, result as Method)
      expect(decodeMethod(out.view, out.bytes, 7, out.length - 1)).toEqual(result)
    }),
    { numRuns: 2000 },
  )
})

test('the generated file is what the generator makes of the schema', () => {
  const generator = fileURLToPath(new URL('../../../../tools/codegen/amqp.mjs', import.meta.url))
  const made = execFileSync(process.execPath, [generator, '--print'], { encoding: 'utf8', maxBuffer: 1 << 22 })
  expect(made).toBe(readFileSync(new URL('./methods.gen.ts', import.meta.url), 'utf8'))
})
