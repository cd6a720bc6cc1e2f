import type { Draft, Queue, QueueSettings } from '@stathmos/engine'
import assert from 'node:assert/strict'
import type { Promised } from './contract.ts'
import type { Inbox } from './inbox.ts'

/** An engine with durable queues, empty at first. */
export interface QueueSubject {
  queue(name: string, settings?: Partial<QueueSettings>): Queue
  publish(queue: string, text: string, options?: Partial<Draft>): number
  /** A receiver that checks that what it gets is on disk. */
  inbox(): Inbox
  /** Everything published so far is on disk, and delivered to who waits for it. */
  settled(): Promise<void>
  /** Stops in order and starts again. */
  reopen(): Promise<void>
}

interface Taken {
  readonly ticket: number
  readonly text: string
  readonly redelivered: boolean
  readonly attempts: number
}

function take(queue: Queue): Promise<Taken | null> {
  return new Promise((resolve) =>
    queue.get(false, (ticket, message) => {
      if (message === null) return resolve(null)
      const { redelivered, attempts } = message
      resolve({ ticket, text: new TextDecoder().decode(message.body()), redelivered, attempts })
    }),
  )
}

async function texts(queue: Queue): Promise<string[]> {
  const messages = await queue.browse({ limit: Number.POSITIVE_INFINITY })
  return messages.map(({ body }) => new TextDecoder().decode(body))
}

async function filled(subject: QueueSubject, count: number, settings?: Partial<QueueSettings>): Promise<Queue> {
  const queue = subject.queue('q', settings)
  for (let i = 0; i < count; i++) subject.publish('q', `${i}`)
  await subject.settled()
  return queue
}

const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `${from + i}`)

/** What every front-end relies on, whatever stores the messages. A further implementation runs all of it. */
export const queueContract: readonly Promised<QueueSubject>[] = [
  {
    name: 'messages come out in the order in which they went in, each to one receiver',
    async run(subject) {
      const queue = subject.queue('q')
      const [one, other] = [subject.inbox(), subject.inbox()]
      for (const receiver of [one, other]) queue.subscribe({ receiver, credit: Infinity, autoAccept: true })
      for (let i = 0; i < 100; i++) subject.publish('q', `${i}`)
      await subject.settled()
      const all = [...one.texts, ...other.texts].map(Number).sort((a, b) => a - b)
      assert.deepEqual(all.map(String), numbers(100))
      for (const { texts: got } of [one, other])
        assert.deepEqual(
          got,
          got.toSorted((a, b) => Number(a) - Number(b)),
        )
      assert.ok(one.got.length > 0 && other.got.length > 0, 'both get some')
    },
  },
  {
    name: 'a consumer holds no more than its credit',
    async run(subject) {
      const queue = await filled(subject, 10)
      const inbox = subject.inbox()
      const consumer = queue.subscribe({ receiver: inbox, credit: 3, autoAccept: false })
      await subject.settled()
      assert.deepEqual(inbox.texts, numbers(3))
      for (const { ticket } of inbox.got) queue.accept(ticket)
      consumer.grant(2)
      await subject.settled()
      assert.deepEqual(inbox.texts, numbers(5))
      assert.deepEqual([queue.ready, queue.inFlight], [5, 2])
    },
  },
  {
    name: 'what is accepted is gone, what is released comes again first and marked, what is rejected is gone or elsewhere',
    async run(subject) {
      const dead = subject.queue('dead')
      const queue = await filled(subject, 4, { deadLetterExchange: '', deadLetterKey: 'dead' })
      const [a, b, c] = [await take(queue), await take(queue), await take(queue)]
      queue.accept(a!.ticket)
      queue.release(b!.ticket, { failed: true })
      queue.reject(c!.ticket, 'rejected')
      await subject.settled()
      assert.deepEqual(await texts(queue), ['1', '3'])
      assert.deepEqual(await texts(dead), ['2'])
      const again = await take(queue)
      assert.deepEqual({ ...again, ticket: 0 }, { ticket: 0, text: '1', redelivered: true, attempts: 1 })
    },
  },
  {
    name: 'after a restart everything is there but what was settled, in order, and repeats are marked',
    async run(subject) {
      const queue = await filled(subject, 20)
      const taken = [await take(queue), await take(queue), await take(queue)]
      queue.accept(taken[1]!.ticket)
      queue.release(taken[2]!.ticket, { failed: true })
      await subject.settled()
      await subject.reopen()
      const again = subject.queue('q')
      assert.deepEqual(await texts(again), ['0', ...numbers(18, 2)])
      const [first, second, third] = [await take(again), await take(again), await take(again)]
      assert.deepEqual([first!.redelivered, second!.redelivered, third!.redelivered], [true, true, false])
      assert.equal(second!.attempts, 1)
    },
  },
  {
    name: 'a message without a queue is not routed, and one that a queue refuses is refused',
    async run(subject) {
      await filled(subject, 2, { lengthMax: 2, overflow: 'reject' })
      assert.equal(subject.publish('nowhere', 'x'), 0)
      assert.equal(subject.publish('q', 'x'), -1)
    },
  },
  {
    name: 'at its limit a queue drops its oldest message',
    async run(subject) {
      assert.deepEqual(await texts(await filled(subject, 5, { lengthMax: 3 })), numbers(3, 2))
    },
  },
  {
    name: 'a higher priority comes first',
    async run(subject) {
      const queue = subject.queue('q', { priorityMax: 5 })
      for (const priority of [0, 5, 3, 5]) subject.publish('q', `${priority}`, { priority })
      await subject.settled()
      assert.deepEqual(await texts(queue), ['5', '5', '3', '0'])
      assert.equal((await take(queue))!.text, '5')
    },
  },
  {
    name: 'purging leaves what is in somebody’s hands',
    async run(subject) {
      const queue = await filled(subject, 5)
      const first = await take(queue)
      assert.equal(queue.purge(), 4)
      queue.release(first!.ticket)
      assert.deepEqual(await texts(queue), ['0'])
    },
  },
  {
    name: 'browsing changes nothing',
    async run(subject) {
      const queue = await filled(subject, 5)
      await take(queue)
      const seen = await queue.browse({ limit: 10 })
      assert.deepEqual(
        seen.map(({ state }) => state),
        ['in_flight', 'ready', 'ready', 'ready', 'ready'],
      )
      const next = await take(queue)
      assert.deepEqual([next!.text, next!.redelivered, next!.attempts], ['1', false, 0])
    },
  },
]
