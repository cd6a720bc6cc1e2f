import { expect, test } from 'vitest'
import { Ticket, Told } from '../testing/inbox-world.ts'
import { declareBatch, declareEffect, declareOn } from './declaration.ts'
import { guaranteeOf, type Ground } from './guarantee.ts'

const capabilities = { ordering: true, confirm: true, returns: true, replies: true, bodyBytesMax: 1000 }
const ground: Ground = {
  service: 'helpdesk',
  store: { name: 'postgres' },
  transport: { name: 'amqp', capabilities },
  rememberedMs: 14 * 86_400_000,
}

test('a handler with a transaction has its effect exactly once in that database, and nowhere else', () => {
  const guarantee = guaranteeOf(
    declareOn(Ticket, { name: 'close' }, () => {}),
    ground,
  )
  expect(guarantee).toMatchObject({ level: 'exactly-once', order: 'per key', loses: 'nothing', uncertain: null })
  expect(guarantee.sentence).toMatchInlineSnapshot(
    `"What helpdesk.close writes to postgres in its transaction, and what it sends there, takes effect exactly once for each ticket.changed; whatever else it does may be repeated. Messages of one key are handled one after the other, in the order in which their transactions committed. A second delivery is recognised for 14d. At most 4 run at a time in each process. After 10 attempts the message and all later ones of its key wait for an operator. Nothing that amqp has confirmed is lost."`,
  )
})

test('a batch of messages without a key has no order', () => {
  const guarantee = guaranteeOf(
    declareBatch(Told, { name: 'index', batch: { size: 10 }, onExhausted: 'drop' }, () => {}),
    ground,
  )
  expect(guarantee).toMatchObject({ handler: 'batch', level: 'exactly-once', order: 'none', exhausted: 'drop' })
})

test('an effect is at least once, with its key, and says what becomes of what nobody knows', () => {
  const rate = { limit: 10, per: '1s' } as const
  const guarantee = guaranteeOf(
    declareEffect(Ticket, { name: 'sms', rate, verify: () => 'unknown' }, () => {}),
    ground,
  )
  expect(guarantee).toMatchObject({ level: 'at-least-once', uncertain: 'verified', rate: { limit: 10, perMs: 1000 } })
  expect(guarantee.sentence).toMatchInlineSnapshot(
    `"helpdesk.sms is called at least once for each ticket.changed, always with the same idempotency key. Messages of one key are handled one after the other, in the order in which their transactions committed. A second delivery is recognised for 14d. A call whose outcome is unknown is verified before it is repeated. There are at most 10 calls per 1s, over all processes. At most 10 run at a time in each process. After 10 attempts the message and all later ones of its key wait for an operator. Nothing that amqp has confirmed is lost."`,
  )
})

test('a line tells one handler from another', () => {
  const rate = { limit: 10, per: '1s', key: () => 'k', name: 'gateway' } as const
  const lines = [
    declareOn(Ticket, { name: 'close' }, () => {}),
    declareBatch(Told, { name: 'index', batch: { size: 10 }, onExhausted: 'drop', retry: { attempts: 1 } }, () => {}),
    declareEffect(Ticket, { name: 'sms', rate }, () => {}),
    declareEffect(Told, { name: 'metrics', level: 'at-most-once' }, () => {}),
  ].map((declaration) => guaranteeOf(declaration, ground).line)
  expect(lines).toEqual([
    'helpdesk.close: on ticket.changed, exactly once, in order per key, 10 attempts, then park-key',
    'helpdesk.index: batch ticket.told, exactly once, in any order, 1 attempt, then drop',
    'helpdesk.sms: effect ticket.changed, at least once, in order per key, 10 per 1s and key for all of gateway, 10 attempts, then park-key',
    'helpdesk.metrics: effect ticket.told, at most once, in any order',
  ])
})

test('what is handled at most once promises no further attempts', () => {
  const guarantee = guaranteeOf(
    declareEffect(Told, { name: 'metrics', level: 'at-most-once' }, () => {}),
    ground,
  )
  expect(guarantee).toMatchObject({ level: 'at-most-once', rememberedMs: 1_209_600_000, attempts: 1, uncertain: null })
  expect(guarantee.sentence).toMatchInlineSnapshot(
    `"helpdesk.metrics is called at most once for each ticket.told. Messages are handled in any order. A second delivery is recognised for 14d. At most 10 run at a time in each process. Lost may be what is under way when a process ends."`,
  )
})

test('an engine that confirms nothing may lose something', () => {
  const guarantee = guaranteeOf(
    declareOn(Ticket, { name: 'close' }, () => {}),
    { ...ground, transport: { name: 'udp', capabilities: { ...capabilities, confirm: false } } },
  )
  expect(guarantee.loses).toBe('what the engine does not confirm')
  expect(guarantee.sentence).toContain('Lost may be what the engine does not confirm.')
})
