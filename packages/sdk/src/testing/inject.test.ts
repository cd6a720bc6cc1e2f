import { expect, test } from 'vitest'
import type { Message } from '../message/message.ts'
import { storeContract } from '../store/contract.ts'
import { memoryStore } from '../store/memory/memory-store.ts'
import type { Draft } from '../store/port.ts'
import type { Delivery, Transport } from '../transport/port.ts'
import { Faults, type Fault, type Step } from './faults.ts'
import { injectStore } from './inject-store.ts'
import { injectTransport } from './inject-transport.ts'
import { manualClock } from './manual-clock.ts'

const draft: Draft = {
  id: 'm',
  kind: 'event',
  type: 't',
  version: 1,
  source: 's',
  time: 0,
  key: 'k',
  keySeq: null,
  contentType: 'application/json',
  body: new Uint8Array(),
  metadata: { correlationId: 'm' },
}

const fault = (call: string, when: Step['when'], what: Fault) => (step: Step) =>
  step.call === call && step.when === when ? what : null

/** A transaction of a process to which something happens, and what is left of it for others. */
async function aftermath(decide: (step: Step) => Fault | null) {
  const clock = manualClock()
  const store = memoryStore({ clock })
  const faults = new Faults(decide)
  const mortal = injectStore(store, faults)
  let outcome = 'never'
  const work = mortal.transaction(async (tx) => {
    await tx.table('tickets').set('1', 'open')
    await mortal.outbox.add(tx, [draft])
  })
  work.then(
    () => (outcome = 'done'),
    (error: { code?: string }) => (outcome = error.code ?? 'rejected'),
  )
  await clock.settle()
  const left = [...store.table<string>('tickets').list(), await store.register.count({})]
  // Nothing that the process held is in the way of others.
  await store.transaction((tx) => store.outbox.add(tx, [{ ...draft, id: 'other' }]))
  return { outcome, left, crashed: faults.crashed }
}

test('nothing goes wrong when nobody wants it', async () => {
  expect(await aftermath(() => null)).toEqual({ outcome: 'done', left: ['open', 1], crashed: false })
})

test.each([
  ['transaction', 'before'],
  ['outbox.add', 'before'],
  ['outbox.add', 'after'],
  ['commit', 'before'],
] as const)('a process that dies at %s, %s it, leaves nothing behind', async (call, when) => {
  expect(await aftermath(fault(call, when, 'crash'))).toEqual({ outcome: 'never', left: [0], crashed: true })
})

test('a process that dies after its commit never learns of it, and everything is there', async () => {
  expect(await aftermath(fault('commit', 'after', 'crash'))).toEqual({
    outcome: 'never',
    left: ['open', 1],
    crashed: true,
  })
})

test('a connection that is lost before the commit undoes the transaction, and after it leaves it done', async () => {
  const before = await aftermath(fault('commit', 'before', 'fail'))
  expect(before).toEqual({ outcome: 'store_down', left: [0], crashed: false })
  const after = await aftermath(fault('commit', 'after', 'fail'))
  expect(after).toEqual({ outcome: 'store_down', left: ['open', 1], crashed: false })
})

test('every call is a step before and after itself, and after the death there are none', async () => {
  const steps: string[] = []
  const clock = manualClock()
  const faults = new Faults(({ call, when }) => {
    steps.push(`${when} ${call}`)
    return null
  })
  const store = injectStore(memoryStore({ clock }), faults)
  await store.inbox.claim('c', true, 1, 1)
  await store.now()
  expect(steps).toEqual(['before inbox.claim', 'after inbox.claim', 'before now', 'after now'])
  faults.crash()
  let settled = false
  void store.register.list({}, 1, null).finally(() => (settled = true))
  void store.transaction(() => Promise.resolve()).finally(() => (settled = true))
  await clock.settle()
  expect(steps).toHaveLength(4)
  expect(settled).toBe(false)
})

test('a transaction that is under way when its process dies lets its locks go', async () => {
  const clock = manualClock()
  const store = memoryStore({ clock })
  const faults = new Faults(() => null)
  const mortal = injectStore(store, faults)
  void mortal.transaction(async (tx) => {
    await mortal.outbox.add(tx, [draft])
    await new Promise(() => {})
  })
  await clock.settle()
  faults.crash()
  await store.transaction((tx) => store.outbox.add(tx, [{ ...draft, id: 'other' }]))
  const { entries } = await store.register.list({ id: 'other' }, 1, null)
  expect(entries[0]!.message!.keySeq).toBe(1)
})

test('a store to which nothing happens keeps every promise', async () => {
  const open = async () => {
    let now = 1_790_000_000_000
    const clock = { now: () => now, monotonic: () => now, after: () => ({ cancel() {} }) }
    const store = injectStore(memoryStore({ clock }), new Faults(() => null))
    const pass = async (ms: number) => {
      now += ms
    }
    return { store, pass, close: () => store.close() }
  }
  for (const { run } of storeContract({ open, concurrent: true })) await run()
})

/** A transport with one subscriber, and what happened to it. */
function wire() {
  const story: string[] = []
  let receive: (delivery: Delivery) => void = () => {}
  const transport: Transport = {
    name: 'wire',
    capabilities: { ordering: true, confirm: true, returns: true, replies: true, bodyBytesMax: 1 },
    async open() {},
    async declare() {},
    async send(messages) {
      story.push(`sent ${messages.length}`)
      return messages.map(() => 'sent' as const)
    },
    async subscribe(_, __, handed) {
      receive = handed
      return { pause() {}, resume() {}, async close() {} }
    },
    openReplies: () => Promise.reject(new Error('none')),
    watch: () => () => {},
    async close() {
      story.push('closed')
    },
  }
  const deliver = () =>
    receive({
      message: { ...draft, keySeq: 1 },
      raw: { headers: {}, contentType: 'application/json', body: new Uint8Array() },
      redelivered: false,
      accept: () => void story.push('accepted'),
      release: () => void story.push('released'),
    })
  return { story, transport, deliver }
}

async function received(decide: (step: Step) => Fault | null) {
  const { story, transport, deliver } = wire()
  const faults = new Faults(decide)
  const consumer = { queue: 'q', contract: { kind: 'event', type: 't' }, ordered: true, partitions: 1 } as const
  await injectTransport(transport, faults).subscribe(consumer, 1, (delivery) => {
    story.push(delivery.redelivered ? 'received again' : 'received')
    delivery.accept()
  })
  deliver()
  return story
}

test('a delivery may come twice, be lost on its way, or find its process dead', async () => {
  expect(await received(() => null)).toEqual(['received', 'accepted'])
  expect(await received(fault('deliver', 'before', 'duplicate'))).toEqual(['received', 'accepted', 'received again'])
  expect(await received(fault('deliver', 'before', 'fail'))).toEqual(['released'])
  expect(await received(fault('deliver', 'before', 'crash'))).toEqual(['closed'])
  expect(await received(fault('accept', 'before', 'fail'))).toEqual(['received', 'released'])
  expect(await received(fault('accept', 'before', 'crash'))).toEqual(['received', 'closed'])
  expect(await received(fault('accept', 'after', 'crash'))).toEqual(['received', 'accepted', 'closed'])
})

test('what was sent may be unknown to its sender', async () => {
  const messages: Message[] = [{ ...draft, keySeq: 1 }]
  for (const when of ['before', 'after'] as const) {
    const { story, transport } = wire()
    const sender = injectTransport(transport, new Faults(fault('send', when, 'fail')))
    await expect(sender.send(messages)).rejects.toMatchObject({ code: 'transport_down', retryable: true })
    expect(story).toEqual(when === 'before' ? [] : ['sent 1'])
  }
  const { story, transport } = wire()
  const clock = manualClock()
  let settled = false
  const dying = injectTransport(transport, new Faults(fault('send', 'after', 'crash')))
  void dying.send(messages).finally(() => (settled = true))
  await clock.settle()
  expect(story).toEqual(['sent 1', 'closed'])
  expect(settled).toBe(false)
})
