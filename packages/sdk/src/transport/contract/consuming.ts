import {
  assert,
  assertEqual,
  calm,
  consumerOf,
  contractOf,
  Inbox,
  messageOf,
  plainForm,
  type TransportPromise,
  type TransportSubject,
} from './parties.ts'
import type { ConsumerTopology, ContractName, Transport } from '../port.ts'

interface Setting {
  readonly contract: ContractName
  readonly consumer: ConsumerTopology
  readonly transport: Transport
  readonly send: (...texts: string[]) => Promise<void>
}

/** One contract and a consumer of it. */
async function setting(subject: TransportSubject): Promise<Setting> {
  const contract = contractOf('event')
  const consumer = consumerOf(contract, 'reader')
  const transport = await subject.open('shop', plainForm)
  await transport.declare({ sends: [contract], consumers: [consumer] })
  return {
    contract,
    consumer,
    transport,
    async send(...texts) {
      await transport.send(texts.map((text) => messageOf(contract, text)))
    },
  }
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))

/** What whoever receives messages may rely on. */
export const consumingPromises: readonly TransportPromise[] = [
  {
    name: 'processes of a consumer share its messages',
    async run(subject) {
      const { consumer, transport, send } = await setting(subject)
      const other = await subject.open('shop', plainForm)
      const inboxes = [await Inbox.open(transport, consumer, 1), await Inbox.open(other, consumer, 1)]
      await send(...numbers(10))
      const first = await Promise.all(inboxes.map((inbox) => inbox.next()))
      assertEqual(new Set(inboxes.flatMap((inbox) => inbox.texts)).size, 2, 'messages in their hands')
      for (const delivery of first) delivery.accept()
      await Promise.all([transport.close(), other.close()])
    },
  },
  {
    name: 'no more than prefetch are unsettled at a time, and every settlement brings one more',
    async run(subject) {
      const { consumer, transport, send } = await setting(subject)
      const inbox = await Inbox.open(transport, consumer, 3)
      await send(...numbers(10))
      for (let n = 0; n < 3; n++) await inbox.next()
      await calm(subject)
      assertEqual(inbox.texts, ['0', '1', '2'], 'what came at first')
      inbox.all[1]!.accept()
      await inbox.next()
      await calm(subject)
      assertEqual(inbox.texts, ['0', '1', '2', '3'], 'what came after one was accepted')
      await transport.close()
    },
  },
  {
    name: 'an ordered consumer has no more than prefetch unsettled in all its partitions together',
    async run(subject) {
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader', { ordered: true, partitions: 4 })
      const transport = await subject.open('shop', plainForm)
      await transport.declare({ sends: [contract], consumers: [consumer] })
      const inbox = await Inbox.open(transport, consumer, 3)
      await transport.send(numbers(30).map((text) => messageOf(contract, text, { key: text })))
      for (let n = 0; n < 3; n++) await inbox.next()
      await calm(subject)
      assertEqual(inbox.all.length, 3, 'deliveries')
      for (const delivery of inbox.all) delivery.accept()
      await inbox.accept(27)
      assertEqual(new Set(inbox.texts).size, 30, 'messages')
      await transport.close()
    },
  },
  {
    name: 'a released message comes again, marked, and before those that were behind it',
    async run(subject) {
      const { consumer, transport, send } = await setting(subject)
      const inbox = await Inbox.open(transport, consumer, 1)
      await send('1', '2')
      const first = await inbox.next()
      first.release()
      const again = await inbox.next()
      assertEqual([again.redelivered, inbox.texts[1]], [true, '1'], 'what came again')
      again.accept()
      const second = await inbox.next()
      assertEqual([second.redelivered, inbox.texts[2]], [false, '2'], 'what came next')
      second.accept()
      await transport.close()
    },
  },
  {
    name: 'a message that is released with a delay does not come before it is over, and counts toward prefetch',
    async run(subject) {
      const { consumer, transport, send } = await setting(subject)
      const inbox = await Inbox.open(transport, consumer, 1)
      await send('1', '2')
      const first = await inbox.next()
      first.release(5_000)
      first.accept()
      await subject.elapse(4_000)
      await calm(subject)
      assertEqual(inbox.all.length, 1, 'deliveries before the delay is over')
      await subject.elapse(1_500)
      const again = await inbox.next()
      assertEqual([again.redelivered, inbox.texts[1]], [true, '1'], 'what came when it was')
      again.accept()
      assertEqual(await inbox.accept(1), ['2'], 'what came next')
      await transport.close()
    },
  },
  {
    name: 'a delivery is settled once: what is said after that does nothing',
    async run(subject) {
      const { consumer, transport, send } = await setting(subject)
      const inbox = await Inbox.open(transport, consumer, 1)
      await send('1', '2', '3')
      const first = await inbox.next()
      first.accept()
      first.accept()
      first.release()
      first.release(1)
      const second = await inbox.next()
      await subject.elapse(10)
      await calm(subject)
      assertEqual(inbox.texts, ['1', '2'], 'what came')
      second.accept()
      assertEqual(await inbox.accept(1), ['3'], 'what came next')
      await transport.close()
    },
  },
  {
    name: 'what is unsettled when the transport is closed comes again elsewhere, marked; what was accepted does not',
    async run(subject) {
      const { consumer, transport, send } = await setting(subject)
      const inbox = await Inbox.open(transport, consumer)
      await send('1', '2', '3')
      for (let n = 0; n < 3; n++) await inbox.next()
      inbox.all[1]!.accept()
      await transport.close()
      inbox.all[0]!.accept()
      const other = await subject.open('shop', plainForm)
      const next = await Inbox.open(other, consumer)
      const again = [await next.next(), await next.next()]
      assertEqual(next.texts, ['1', '3'], 'what came again')
      assertEqual(
        again.map(({ redelivered }) => redelivered),
        [true, true],
        'whether it is marked',
      )
      for (const delivery of again) delivery.accept()
      await other.close()
    },
  },
  {
    name: 'a message that waits out its delay when the transport is closed comes again elsewhere',
    async run(subject) {
      const { consumer, transport, send } = await setting(subject)
      const inbox = await Inbox.open(transport, consumer)
      await send('1')
      ;(await inbox.next()).release(3_600_000)
      await transport.close()
      const other = await subject.open('shop', plainForm)
      const next = await Inbox.open(other, consumer)
      assertEqual(await next.accept(1), ['1'], 'what came again')
      await other.close()
    },
  },
  {
    name: 'a paused subscription gets nothing, its deliveries can be settled, and it goes on where it was',
    async run(subject) {
      const { consumer, transport, send } = await setting(subject)
      const inbox = await Inbox.open(transport, consumer)
      await send('1')
      const first = await inbox.next()
      const subscription = await inbox.subscription
      subscription.pause()
      await send('2', '3')
      first.accept()
      await calm(subject)
      assertEqual(inbox.texts, ['1'], 'what came during the pause')
      subscription.resume()
      assertEqual(await inbox.accept(2), ['2', '3'], 'what came after it')
      await transport.close()
    },
  },
  {
    name: 'a closed subscription gets nothing more, others do, and what it holds can still be accepted',
    async run(subject) {
      const { consumer, transport, send } = await setting(subject)
      const other = await subject.open('shop', plainForm)
      const inbox = await Inbox.open(transport, consumer, 1)
      await send(...numbers(6))
      const first = await inbox.next()
      await (await inbox.subscription).close()
      const next = await Inbox.open(other, consumer)
      assertEqual(await next.accept(5), ['1', '2', '3', '4', '5'], 'what came elsewhere')
      first.accept()
      await calm(subject)
      assertEqual([inbox.all.length, next.all.length], [1, 5], 'deliveries')
      await transport.close()
      await calm(subject)
      assertEqual(next.all.length, 5, 'deliveries after its transport is closed')
      await other.close()
    },
  },
  {
    name: 'a subscription that is paused and closed gives what waits to others',
    async run(subject) {
      const { consumer, transport, send } = await setting(subject)
      const other = await subject.open('shop', plainForm)
      const inbox = await Inbox.open(transport, consumer)
      const subscription = await inbox.subscription
      subscription.pause()
      await send(...numbers(5))
      await calm(subject)
      await subscription.close()
      const next = await Inbox.open(other, consumer)
      assertEqual((await next.accept(5)).length, 5, 'what came elsewhere')
      assert(inbox.all.length === 0, 'it got something')
      await Promise.all([transport.close(), other.close()])
    },
  },
]
