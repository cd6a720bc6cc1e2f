import { SdkError } from '../../errors.ts'
import {
  assert,
  assertCode,
  assertEqual,
  connected,
  consumerOf,
  contractOf,
  Inbox,
  messageOf,
  plainForm,
  sendSurely,
  textOf,
  type TransportPromise,
} from './parties.ts'

/** What holds when connections come and go. */
export const connectingPromises: readonly TransportPromise[] = [
  {
    name: 'opening fails with transport_down when there is nobody',
    async run({ openNowhere }) {
      if (openNowhere === undefined) return
      const error: unknown = await openNowhere().then(
        () => undefined,
        (reason: unknown) => reason,
      )
      assert(error instanceof SdkError, `it fails with ${String(error)}`)
      assertCode(error, 'transport_down')
      assert(error.retryable, 'it may be tried again')
    },
  },
  {
    name: 'a watcher is told at once that the transport is connected, and when it is closed, until it ends',
    async run(subject) {
      const transport = await subject.open('shop', plainForm)
      const seen: boolean[] = []
      const deaf: boolean[] = []
      transport.watch((up) => seen.push(up))
      transport.watch((up) => deaf.push(up))()
      assertEqual([seen, deaf], [[true], [true]], 'what was said at first')
      await transport.close()
      assertEqual([seen, deaf], [[true, false], [true]], 'what was said when it was closed')
    },
  },
  {
    name: 'the engine has one name for all services, if it has any',
    async run(subject) {
      const transports = [await subject.open('shop', plainForm), await subject.open('crm', plainForm)]
      const [shop, crm] = transports.map(({ engine }) => engine ?? null)
      assertEqual(shop, crm, 'what they call it')
      for (const transport of transports) await transport.close()
    },
  },
  {
    name: 'a closed transport sends nothing: transport_down',
    async run(subject) {
      const contract = contractOf('event')
      const transport = await subject.open('shop', plainForm)
      await transport.declare({ sends: [contract], consumers: [] })
      await transport.close()
      const result = await transport.send([messageOf(contract, 'late')]).catch((error: unknown) => error)
      assert(result instanceof SdkError && result.code === 'transport_down', `it ends with ${String(result)}`)
      await transport.close()
    },
  },
  {
    name: 'after a lost connection, subscriptions go on, what was unsettled comes again, marked, and nothing accepted does',
    async run(subject) {
      if (subject.interrupt === undefined) return
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader')
      const ordered = consumerOf(contract, 'ordered', { ordered: true, partitions: 2 })
      const transport = await subject.open('shop', plainForm)
      const ups: boolean[] = []
      transport.watch((up) => ups.push(up))
      await transport.declare({ sends: [contract], consumers: [consumer, ordered] })
      const inboxes = [await Inbox.open(transport, consumer, 5), await Inbox.open(transport, ordered, 5)]
      await transport.send(['1', '2'].map((text) => messageOf(contract, text, { key: 'k' })))
      for (const inbox of inboxes) {
        await inbox.next()
        await inbox.next()
      }
      await subject.interrupt()
      assertEqual(ups.at(-1), false, 'what watchers were told')
      // Of no effect: the engine has taken them back.
      for (const inbox of inboxes) inbox.all[0]!.accept()
      await connected(subject, transport)
      for (const inbox of inboxes) {
        const again = [await inbox.next(), await inbox.next()]
        assertEqual(inbox.texts.slice(2), ['1', '2'], 'what came again')
        assert(
          again.every(({ redelivered }) => redelivered),
          'it is marked',
        )
        for (const delivery of again) delivery.accept()
      }
      assertEqual(
        await sendSurely(subject, transport, [messageOf(contract, '3', { key: 'k' })]),
        ['sent'],
        'the result',
      )
      for (const inbox of inboxes) assertEqual(await inbox.accept(1), ['3'], 'what came next')
      await transport.close()
    },
  },
  {
    name: 'during an interruption sending fails with transport_down or succeeds; what was sent is there afterwards',
    async run(subject) {
      if (subject.interrupt === undefined) return
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader')
      const transport = await subject.open('shop', plainForm)
      await transport.declare({ sends: [contract], consumers: [consumer] })
      const inbox = await Inbox.open(transport, consumer)
      const batches = Array.from({ length: 20 }, (_, batch) =>
        Array.from({ length: 50 }, (_each, i) => messageOf(contract, `${batch}/${i}`)),
      )
      const cut = subject.interrupt
      const sending = (async () => {
        for (const batch of batches) await sendSurely(subject, transport, batch)
      })()
      await cut()
      await sending
      const got = new Set<string>()
      while (got.size < 1_000) got.add((await inbox.accept(1))[0]!)
      await transport.close()
    },
  },
  {
    name: 'a paused subscription is still paused after a lost connection, and a closed one stays closed',
    async run(subject) {
      if (subject.interrupt === undefined) return
      const contract = contractOf('event')
      const consumers = ['paused', 'closed', 'other'].map((name) => consumerOf(contract, name))
      const transport = await subject.open('shop', plainForm)
      await transport.declare({ sends: [contract], consumers })
      const [paused, closed, other] = await Promise.all(consumers.map((each) => Inbox.open(transport, each)))
      const subscription = await paused!.subscription
      subscription.pause()
      await (await closed!.subscription).close()
      await subject.interrupt()
      await connected(subject, transport)
      await sendSurely(subject, transport, [messageOf(contract, '1')])
      while (other!.texts.at(-1) !== '1') await other!.accept(1)
      assertEqual([paused!.all.length, closed!.all.length], [0, 0], 'deliveries')
      subscription.resume()
      assertEqual(textOf((await paused!.next()).raw.body), '1', 'what came after the pause')
      await transport.close()
    },
  },
]
