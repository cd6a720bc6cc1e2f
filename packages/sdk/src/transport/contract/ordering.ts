import { bucketOf } from '../../message/bucket.ts'
import type { Delivery, Transport } from '../port.ts'
import {
  assert,
  assertEqual,
  consumerOf,
  contractOf,
  Inbox,
  messageOf,
  plainForm,
  textOf,
  type TransportPromise,
  type TransportSubject,
} from './parties.ts'

const KEYS = Array.from({ length: 12 }, (_, i) => `key-${i}`)

interface Work {
  /** What came of each key, in order, without repeats. */
  readonly byKey: Map<string, number[]>
  take(process: string, delivery: Delivery): void
  /** Resolves when `count` different messages were accepted. */
  accepted(count: number): Promise<void>
}

/** Watches several processes: that a key is in one's hands only, and that what comes first of it is in order. */
function work(subject: TransportSubject): Work & { readonly wrong: string[] } {
  const byKey = new Map<string, number[]>()
  const hands = new Map<string, { process: string; count: number }>()
  const wrong: string[] = []
  const waiting: { count: number; resolve: () => void }[] = []
  let done = 0
  return {
    byKey,
    wrong,
    take(process, delivery) {
      const { key } = delivery.message!
      const name = key ?? ''
      const hand = hands.get(name)
      if (hand !== undefined && hand.process !== process) {
        wrong.push(`${name} came to ${process} while ${hand.process} had it`)
      }
      hands.set(name, { process, count: (hand?.count ?? 0) + 1 })
      const number = Number(textOf(delivery.raw.body))
      const seen = byKey.get(name) ?? []
      byKey.set(name, seen)
      const fresh = !seen.includes(number)
      if (fresh) seen.push(number)
      // Not within the call: a consumer works on it for a while.
      void subject.elapse(1).then(() => {
        const left = hands.get(name)!.count - 1
        if (left > 0) hands.set(name, { process, count: left })
        else hands.delete(name)
        delivery.accept()
        if (fresh) done++
        for (const { count, resolve } of waiting) if (done >= count) resolve()
      })
    },
    accepted: (count) =>
      new Promise<void>((resolve) => {
        if (done >= count) resolve()
        else waiting.push({ count, resolve })
      }),
  }
}

async function sendRounds(
  transport: Transport,
  contract: ReturnType<typeof contractOf>,
  from: number,
  to: number,
): Promise<void> {
  for (let round = from; round < to; round += 5) {
    const rounds = Array.from({ length: Math.min(5, to - round) }, (_, i) => round + i)
    await transport.send(rounds.flatMap((number) => KEYS.map((key) => messageOf(contract, String(number), { key }))))
  }
}

async function keepsOrder(subject: TransportSubject, partitions: number): Promise<void> {
  const contract = contractOf('event')
  const consumer = consumerOf(contract, 'reader', { ordered: true, partitions })
  const transport = await subject.open('shop', plainForm)
  if (!transport.capabilities.ordering) return transport.close()
  await transport.declare({ sends: [contract], consumers: [consumer] })
  const seen = work(subject)
  await sendRounds(transport, contract, 0, 10)
  await Inbox.open(transport, consumer, 7, (delivery) => seen.take('only', delivery))
  await sendRounds(transport, contract, 10, 30)
  await seen.accepted(KEYS.length * 30)
  for (const key of KEYS) {
    assertEqual(
      seen.byKey.get(key),
      Array.from({ length: 30 }, (_, i) => i),
      `what came of ${key}`,
    )
  }
  return transport.close()
}

/** What `ordered` means. */
export const orderingPromises: readonly TransportPromise[] = [
  {
    name: 'an ordered consumer gets the messages of a key in the order of sending, with one partition',
    run: (subject) => keepsOrder(subject, 1),
  },
  {
    name: 'an ordered consumer gets the messages of a key in the order of sending, with several partitions',
    run: (subject) => keepsOrder(subject, 4),
  },
  {
    name: 'an ordered consumer gets messages without a key, too',
    async run(subject) {
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader', { ordered: true, partitions: 3 })
      const transport = await subject.open('shop', plainForm)
      await transport.declare({ sends: [contract], consumers: [consumer] })
      const inbox = await Inbox.open(transport, consumer)
      const texts = Array.from({ length: 30 }, (_, i) => String(i))
      await transport.send(texts.map((text) => messageOf(contract, text)))
      assertEqual((await inbox.accept(30)).toSorted(), texts.toSorted(), 'what came')
      await transport.close()
    },
  },
  {
    name: 'a key is in the hands of one process at a time, while processes come and go',
    async run(subject) {
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader', { ordered: true, partitions: 4 })
      const sender = await subject.open('sender', plainForm)
      if (!sender.capabilities.ordering) return sender.close()
      await sender.declare({ sends: [contract], consumers: [consumer] })
      const seen = work(subject)
      const processes = await Promise.all(
        ['a', 'b'].map(async (name) => {
          const transport = await subject.open('shop', plainForm)
          const inbox = await Inbox.open(transport, consumer, 5, (delivery) => seen.take(name, delivery))
          return { transport, inbox }
        }),
      )
      await sendRounds(sender, contract, 0, 20)
      await seen.accepted(KEYS.length * 3)
      await (await processes[0]!.inbox.subscription).close()
      const third = await subject.open('shop', plainForm)
      await Inbox.open(third, consumer, 5, (delivery) => seen.take('c', delivery))
      await sendRounds(sender, contract, 20, 40)
      await seen.accepted(KEYS.length * 40)
      assertEqual(seen.wrong, [], 'keys in two hands')
      for (const key of KEYS) {
        assertEqual(
          seen.byKey.get(key),
          Array.from({ length: 40 }, (_, i) => i),
          `what came of ${key}`,
        )
      }
      for (const { transport } of [...processes, { transport: third }, { transport: sender }]) await transport.close()
    },
  },
  {
    name: 'what an ordered consumer gives back comes again before what comes after it in its key',
    async run(subject) {
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader', { ordered: true, partitions: 1 })
      const transport = await subject.open('shop', plainForm)
      if (!transport.capabilities.ordering) return transport.close()
      await transport.declare({ sends: [contract], consumers: [consumer] })
      const inbox = await Inbox.open(transport, consumer, 4)
      const texts = Array.from({ length: 12 }, (_, i) => String(i + 1))
      await transport.send(texts.map((text) => messageOf(contract, text, { key: 'k' })))
      const first = await inbox.next()
      const others = [await inbox.next(), await inbox.next(), await inbox.next()]
      ;(await inbox.subscription).pause()
      for (const delivery of others) delivery.release()
      // The first one is still being worked on when the others are back, and more could be on their way.
      await subject.elapse(100)
      first.release()
      ;(await inbox.subscription).resume()
      const got: string[] = []
      while (got.length < texts.length) {
        const delivery = await inbox.next()
        got.push(textOf(delivery.raw.body))
        delivery.accept()
      }
      assertEqual(got, texts, 'what came after all was given back')
      return transport.close()
    },
  },
  {
    name: 'while a closed ordered subscription holds a message, nobody else gets its key',
    async run(subject) {
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader', { ordered: true, partitions: 1 })
      const transport = await subject.open('shop', plainForm)
      if (!transport.capabilities.ordering) return transport.close()
      await transport.declare({ sends: [contract], consumers: [consumer] })
      const inbox = await Inbox.open(transport, consumer, 2)
      await transport.send(['1', '2', '3', '4'].map((text) => messageOf(contract, text, { key: 'k' })))
      const [first, second] = [await inbox.next(), await inbox.next()]
      await (await inbox.subscription).close()
      const other = await subject.open('shop', plainForm)
      const got: string[] = []
      let held = true
      const next = await Inbox.open(other, consumer, 2, (delivery) => {
        assert(!held, 'a message came while the one before it was in other hands')
        got.push(textOf(delivery.raw.body))
      })
      first.accept()
      held = false
      second.accept()
      await next.accept(2)
      assertEqual(got, ['3', '4'], 'what came elsewhere')
      await transport.close()
      return other.close()
    },
  },
  {
    name: 'processes of an ordered consumer come to share its partitions',
    async run(subject) {
      if (subject.oneProcess === true) return undefined
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader', { ordered: true, partitions: 4 })
      const transports = [await subject.open('shop', plainForm), await subject.open('shop', plainForm)]
      const [first] = transports
      if (!first!.capabilities.ordering) return first!.close()
      await first!.declare({ sends: [contract], consumers: [consumer] })
      const keys = ['one of each', ...KEYS].filter(
        (key, i, all) => all.findIndex((other) => bucketOf(other) % 4 === bucketOf(key) % 4) === i,
      )
      const busy = new Set<string>()
      const seen = work(subject)
      for (const [n, transport] of transports.entries()) {
        await Inbox.open(transport, consumer, 5, (delivery) => {
          busy.add(String(n))
          seen.take(String(n), delivery)
        })
      }
      for (let round = 0; busy.size < 2; round++) {
        await first!.send(keys.map((key) => messageOf(contract, String(round), { key })))
        await seen.accepted(keys.length * (round + 1))
        await subject.elapse(1_000)
      }
      assertEqual(seen.wrong, [], 'keys in two hands')
      for (const transport of transports) await transport.close()
      return undefined
    },
  },
]
