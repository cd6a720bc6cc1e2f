import { expect, test } from 'vitest'
import { silentLog } from '../../log.ts'
import { seededRandom } from '../../random.ts'
import { manualClock } from '../../testing/manual-clock.ts'
import type { WireForm } from '../../wire/wire-form.ts'
import { transportContract, type TransportSubject } from '../contract.ts'
import { consumerOf, contractOf, Inbox, messageOf, plainForm, textOf } from '../contract/parties.ts'
import { memoryEngine, type MemoryEngineOptions, type MemoryTransport } from './index.ts'

function world(options: MemoryEngineOptions = {}) {
  const engine = memoryEngine(options)
  const clock = manualClock()
  const transports: MemoryTransport[] = []
  const subject: TransportSubject = {
    async open(service: string, form: WireForm) {
      const transport = engine.transport()
      transports.push(transport)
      await transport.open({ service, form, clock, random: seededRandom(1), log: silentLog })
      return transport
    },
    async elapse(ms) {
      for (const transport of transports) transport.restore()
      await clock.advance(ms)
    },
    async interrupt() {
      for (const transport of transports) transport.cut()
    },
    async close() {
      for (const transport of transports) await transport.close()
    },
  }
  return { engine, clock, subject }
}

const suite = transportContract({ open: async () => world({ bodyBytesMax: 100_000 }).subject })
test.each(suite)('$name', ({ run }) => run())

async function reader(chaos: MemoryEngineOptions['chaos'] & object) {
  const { engine, subject } = world({ chaos })
  const contract = contractOf('event')
  const consumer = consumerOf(contract, 'reader', { ordered: true })
  const transport = (await subject.open('shop', plainForm)) as MemoryTransport
  await transport.declare({ sends: [contract], consumers: [consumer] })
  const send = (...messages: [key: string, text: string][]) =>
    transport.send(messages.map(([key, text]) => messageOf(contract, text, { key })))
  return { engine, subject, consumer, transport, send }
}

test('whoever explores says which key comes next; the order within a key stays', async () => {
  const { consumer, transport, send } = await reader({ pick: (count) => count - 1 })
  await send(['a', 'a1'], ['a', 'a2'], ['b', 'b1'], ['c', 'c1'], ['b', 'b2'])
  const inbox = await Inbox.open(transport, consumer)
  expect(await inbox.accept(5)).toEqual(['c1', 'b1', 'b2', 'a1', 'a2'])
})

test('an accepted message comes again where its settlement is said to be lost', async () => {
  let once = true
  const { consumer, transport, send } = await reader({ duplicate: () => once && !(once = false) })
  await send(['a', '1'], ['a', '2'])
  const inbox = await Inbox.open(transport, consumer, 1)
  expect(await inbox.accept(3)).toEqual(['1', '1', '2'])
  expect(inbox.all.map(({ redelivered }) => redelivered)).toEqual([false, true, false])
})

test('a lost send stores nothing, an unanswered one everything; of both nothing is known', async () => {
  const fates = ['lost', 'unanswered', 'done'] as const
  let calls = 0
  const { consumer, transport, send } = await reader({ send: () => fates[calls++]! })
  await expect(send(['a', '1'])).rejects.toMatchObject({ code: 'transport_down', retryable: true })
  await expect(send(['a', '2'])).rejects.toMatchObject({ code: 'transport_down', retryable: true })
  await send(['a', '3'])
  const inbox = await Inbox.open(transport, consumer)
  expect(await inbox.accept(2)).toEqual(['2', '3'])
})

test('what a process held when it crashed comes to the next one, and it hears of nothing more', async () => {
  const { engine, subject, consumer, transport, send } = await reader({})
  const inbox = await Inbox.open(transport, consumer)
  await send(['a', '1'])
  const held = await inbox.next()
  transport.crash()
  held.accept()
  expect(engine.waiting(consumer.queue)).toBe(1)
  const next = await Inbox.open(await subject.open('shop', plainForm), consumer)
  const again = await next.next()
  expect([again.redelivered, textOf(again.raw.body), inbox.all.length]).toEqual([true, '1', 1])
})

test('somebody who counts what is under way sees every hand-over begin and end', async () => {
  let underWay = 0
  const { subject } = world({
    begin: () => {
      underWay++
      return () => underWay--
    },
  })
  const contract = contractOf('event')
  const transport = await subject.open('shop', plainForm)
  const inbox = await Inbox.open(transport, consumerOf(contract, 'reader'))
  await transport.send([messageOf(contract, '1')])
  expect(underWay).toBe(1)
  await inbox.accept(1)
  await new Promise<void>((resolve) => setImmediate(resolve))
  expect(underWay).toBe(0)
})
