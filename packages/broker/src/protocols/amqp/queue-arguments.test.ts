import type { QueueDefinition } from '@stathmos/engine'
import type { Field, Table } from '@stathmos/wire/amqp'
import { expect, test } from 'vitest'

import { readQueueArguments, requireEquivalent } from './queue-arguments.ts'

const THING = "queue 'q' in vhost '/'"

function table(values: Readonly<Record<string, Field>>): Table {
  return new Map(Object.entries(values))
}

const int = (value: number): Field => ({ type: 'I', value })
const text = (value: string): Field => ({ type: 'S', value })

function declared(args: Table): QueueDefinition {
  const { settings, opaque } = readQueueArguments(args, THING)
  return { name: 'q', durable: true, exclusive: false, autoDelete: false, settings, opaque }
}

test('arguments become settings', () => {
  const { settings, type } = readQueueArguments(
    table({
      'x-message-ttl': int(1000),
      'x-expires': { type: 'l', value: 2000n },
      'x-max-length': int(3),
      'x-max-length-bytes': int(4),
      'x-overflow': text('reject-publish-dlx'),
      'x-dead-letter-exchange': text('dlx'),
      'x-dead-letter-routing-key': text('dead'),
      'x-max-priority': { type: 'B', value: 9 },
      'x-single-active-consumer': { type: 't', value: true },
      'x-consumer-timeout': int(5),
    }),
    THING,
  )
  expect(type).toBe('classic')
  expect(settings).toEqual({
    messageTtlMs: 1000,
    expiresMs: 2000,
    lengthMax: 3,
    bytesMax: 4,
    overflow: 'reject-dead-letter',
    deadLetterExchange: 'dlx',
    deadLetterKey: 'dead',
    priorityMax: 9,
    singleActive: true,
    leaseMs: 5,
  })
})

test('a quorum queue gives a message up after 20 failed attempts, unless told otherwise [RabbitMQ x-delivery-limit]', () => {
  const quorum = { 'x-queue-type': text('quorum') }
  expect(declared(table(quorum)).settings.deliveryLimit).toBe(20)
  expect(declared(table({ ...quorum, 'x-delivery-limit': int(3) })).settings.deliveryLimit).toBe(3)
  expect(declared(table({ ...quorum, 'x-delivery-limit': int(-1) })).settings.deliveryLimit).toBeUndefined()
  expect(declared(table({})).settings.deliveryLimit).toBeUndefined()
})

const REFUSED: readonly (readonly [Table, string])[] = [
  [table({ 'x-message-ttl': int(-1) }), `invalid arg 'x-message-ttl' for ${THING}: {value_negative,-1}`],
  [table({ 'x-message-ttl': text('1') }), `invalid arg 'x-message-ttl' for ${THING}: "expected integer, got longstr"`],
  [
    table({ 'x-message-ttl': { type: 'l', value: 315_360_000_001n } }),
    `invalid arg 'x-message-ttl' for ${THING}: {value_too_large,315360000001}`,
  ],
  [
    table({ 'x-max-length': { type: 'l', value: 9_007_199_254_740_993n } }),
    `invalid arg 'x-max-length' for ${THING}: {value_too_large,9007199254740993}`,
  ],
  [table({ 'x-overflow': text('spill') }), `invalid arg 'x-overflow' for ${THING}: invalid_overflow`],
  [table({ 'x-queue-mode': text('odd') }), `invalid arg 'x-queue-mode' for ${THING}: "unsupported queue mode 'odd'"`],
  [table({ 'x-queue-version': int(3) }), `invalid arg 'x-queue-version' for ${THING}: "unsupported queue version '3'"`],
  [table({ 'x-queue-type': int(5) }), `invalid arg 'x-queue-type' for ${THING}: {unacceptable_type,signedint}`],
  [
    table({ 'x-dead-letter-exchange': int(5) }),
    `invalid type 'signedint' for arg 'x-dead-letter-exchange' in ${THING}`,
  ],
  [table({ 'x-expires': int(0) }), `invalid arg 'x-expires' for ${THING}: {value_zero,0}`],
  [table({ 'x-max-priority': int(256) }), `invalid arg 'x-max-priority' for ${THING}: {max_value_exceeded,256}`],
  [
    table({ 'x-delivery-limit': int(3) }),
    `invalid arg 'x-delivery-limit' for ${THING} of queue type rabbit_classic_queue`,
  ],
  [table({ 'x-max-age': text('1D') }), `invalid arg 'x-max-age' for ${THING} of queue type rabbit_classic_queue`],
  [
    table({ 'x-queue-type': text('quorum'), 'x-max-priority': int(1) }),
    `invalid arg 'x-max-priority' for ${THING} of queue type rabbit_quorum_queue`,
  ],
  [
    table({ 'x-dead-letter-routing-key': text('k') }),
    `invalid arg 'x-dead-letter-routing-key' for ${THING}: routing_key_but_no_dlx_defined`,
  ],
]

test.each(REFUSED)('%o is refused with 406', (args, expected) => {
  expect(() => readQueueArguments(args, THING)).toThrow(`PRECONDITION_FAILED - ${expected}`)
})

test('streams are 540 NOT_IMPLEMENTED', () => {
  expect(() => readQueueArguments(table({ 'x-queue-type': text('stream') }), THING)).toThrow(
    /^NOT_IMPLEMENTED - streams/,
  )
})

test('the same value of another width is the same argument [RabbitMQ equivalence]', () => {
  const existing = declared(table({ 'x-message-ttl': int(1000), 'x-queue-type': text('classic') }))
  requireEquivalent(existing, table({ 'x-message-ttl': { type: 'l', value: 1000n } }), THING)
})

test('arguments that nobody knows are kept and not compared [RabbitMQ #12346]', () => {
  requireEquivalent(declared(table({ 'x-mine': int(1) })), table({ 'x-mine': int(2) }), THING)
  expect(declared(table({ 'x-mine': int(1) })).opaque).toBe('{"x-mine":1}')
})

test('the first difference is named with both values [RabbitMQ equivalence]', () => {
  const limited = declared(table({ 'x-message-ttl': int(1) }))
  const is = `PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for ${THING}: received`
  expect(() => requireEquivalent(limited, table({}), THING)).toThrow(
    `${is} none but current is the value '1' of type 'signedint'`,
  )
  expect(() => requireEquivalent(limited, table({ 'x-message-ttl': int(2) }), THING)).toThrow(
    `${is} '2' but current is '1'`,
  )
})

test('names of the prototype are arguments like others', () => {
  const args = new Map([['__proto__', text('x')]])
  expect(readQueueArguments(args, THING).settings).toEqual({ overflow: 'drop-head' })
})
