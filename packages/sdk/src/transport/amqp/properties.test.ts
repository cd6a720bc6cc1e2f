import { expect, test } from 'vitest'
import { seededRandom } from '../../random.ts'
import { contractOf, messageOf, plainForm } from '../contract/parties.ts'
import { isRedelivered, outgoing, wiredOf } from './properties.ts'

const random = seededRandom(1)

test('a request says to strangers who sent what, when, and where the reply goes', () => {
  const contract = { kind: 'request', type: 'experts.find' } as const
  const metadata = { correlationId: 'case-7', replyTo: 'shop.replies.1' }
  const message = messageOf(contract, '{}', { id: 'r-1', source: 'shop', time: 1_790_000_000_123, metadata, key: 'k' })
  const { exchange, routingKey, options } = outgoing(message, plainForm.encode(message), random)
  expect([exchange, Number(routingKey) >= 0 && Number(routingKey) < 64]).toEqual(['experts.find', true])
  expect(options).toMatchObject({
    messageId: 'r-1',
    type: 'experts.find',
    appId: 'shop',
    timestamp: 1_790_000_000,
    correlationId: 'case-7',
    replyTo: 'shop.replies.1',
    contentType: 'text/plain',
    deliveryMode: 2,
    mandatory: true,
  })
})

test('an event need not reach anybody', () => {
  const message = messageOf(contractOf('event'), '')
  expect(outgoing(message, plainForm.encode(message), random).options.mandatory).toBe(false)
})

test('headers of strangers come as text, and those that are none are left out', () => {
  const headers = { text: 'a', number: 7, flag: true, table: { a: 1 }, nothing: null }
  const fields = { deliveryTag: 1, redelivered: false, exchange: 'x', routingKey: '1' }
  const wired = wiredOf({ content: Buffer.from('b'), fields, properties: { headers } })
  expect(wired).toEqual({ headers: { text: 'a', number: '7', flag: 'true' }, contentType: '', body: Buffer.from('b') })
})

test('a redelivery is told by the flag, or by the count of a quorum queue', () => {
  const delivery = (redelivered: boolean, count?: number) => ({
    content: Buffer.alloc(0),
    fields: { deliveryTag: 1, redelivered, exchange: '', routingKey: '' },
    properties: { headers: count === undefined ? {} : { 'x-delivery-count': count } },
  })
  expect([delivery(true), delivery(false, 1), delivery(false, 0), delivery(false)].map(isRedelivered)).toEqual([
    true,
    true,
    false,
    false,
  ])
})
