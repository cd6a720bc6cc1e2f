import { SdkError } from '../../errors.ts'
import {
  assert,
  assertCode,
  assertEqual,
  calm,
  consumerOf,
  contractOf,
  Inbox,
  messageOf,
  plainForm,
  strangeForm,
  textOf,
  type TransportPromise,
} from './parties.ts'

/** What a sender may rely on, and where its messages go. */
export const sendingPromises: readonly TransportPromise[] = [
  {
    name: 'a message comes as it was sent, with everything that travels with it',
    async run(subject) {
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader')
      const transport = await subject.open('shop', plainForm)
      await transport.declare({ sends: [contract], consumers: [consumer] })
      const inbox = await Inbox.open(transport, consumer)
      const metadata = {
        correlationId: 'c-1',
        causationId: 'c-0',
        deadline: 1_800_000_000_000,
        custom: { tenant: 'é' },
      }
      const message = messageOf(contract, 'a body: é \u0000', { key: 'ticket é', keySeq: 7, version: 3, metadata })
      assertEqual(await transport.send([message]), ['sent'], 'the result')
      const delivery = await inbox.next()
      assertEqual({ ...delivery.message, body: 0 }, { ...message, body: 0 }, 'the message')
      assertEqual([...(delivery.message?.body ?? [])], [...message.body], 'its body')
      assertEqual([...delivery.raw.body], [...message.body], 'its bytes')
      assertEqual(delivery.raw.contentType, 'text/plain', 'its media type')
      assertEqual(delivery.raw.headers['x-message'], plainForm.encode(message).headers['x-message'], 'its header')
      assertEqual(delivery.redelivered, false, 'the first delivery is a redelivery')
      delivery.accept()
      await transport.close()
    },
  },
  {
    name: 'an event comes to every consumer once, also to those that were declared and are not running',
    async run(subject) {
      const contract = contractOf('event')
      const consumers = ['billing', 'mail', 'later'].map((name) => consumerOf(contract, name))
      const transport = await subject.open('shop', plainForm)
      await transport.declare({ sends: [contract], consumers })
      const running = await Promise.all(consumers.slice(0, 2).map((consumer) => Inbox.open(transport, consumer)))
      await transport.send(['1', '2', '3'].map((text) => messageOf(contract, text)))
      const later = await Inbox.open(transport, consumers[2]!)
      for (const inbox of [...running, later]) assertEqual(await inbox.accept(3), ['1', '2', '3'], 'what came')
      await transport.close()
      const next = await subject.open('shop', plainForm)
      await next.declare({ sends: [contract], consumers })
      const again = await Promise.all(consumers.map((consumer) => Inbox.open(next, consumer)))
      await next.send([messageOf(contract, '4')])
      for (const inbox of again) assertEqual(await inbox.accept(1), ['4'], 'what came after all was accepted')
      await next.close()
    },
  },
  {
    name: 'what was sent is kept when the sender is gone, until a process of the consumer comes',
    async run(subject) {
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader')
      const sender = await subject.open('shop', plainForm)
      await sender.declare({ sends: [contract], consumers: [consumer] })
      assertEqual(await sender.send([messageOf(contract, 'kept')]), ['sent'], 'the result')
      await sender.close()
      if (subject.restart !== undefined) await subject.restart()
      const reader = await subject.open('reader', plainForm)
      await reader.declare({ sends: [], consumers: [consumer] })
      const inbox = await Inbox.open(reader, consumer)
      assertEqual(await inbox.accept(1), ['kept'], 'what came')
      await reader.close()
    },
  },
  {
    name: 'a consumer that was declared, and never ran, gets every event that was sent before its first start, once',
    async run(subject) {
      const contract = contractOf('event')
      const plain = consumerOf(contract, 'plain')
      const ordered = consumerOf(contract, 'ordered', { ordered: true, partitions: 3 })
      const pipeline = await subject.open('pipeline', plainForm)
      await pipeline.declare({ sends: [], consumers: [plain, ordered] })
      await pipeline.declare({ sends: [contract], consumers: [ordered, plain] })
      await pipeline.close()
      if (subject.restart !== undefined) await subject.restart()
      const sender = await subject.open('shop', plainForm)
      await sender.declare({ sends: [contract], consumers: [] })
      const texts = Array.from({ length: 30 }, (_, i) => String(i).padStart(2, '0'))
      await sender.send(texts.map((text) => messageOf(contract, text, { key: `k${Number(text) % 5}` })))
      await sender.close()
      if (subject.restart !== undefined) await subject.restart()
      const reader = await subject.open('crm', plainForm)
      await reader.declare({ sends: [contract], consumers: [plain, ordered] })
      for (const consumer of [plain, ordered]) {
        const inbox = await Inbox.open(reader, consumer)
        const got = await inbox.accept(texts.length)
        assertEqual(got.toSorted(), texts, `what came to ${consumer.queue}`)
        await calm(subject)
        assertEqual(inbox.unread, 0, 'what came besides')
        await (await inbox.subscription).close()
      }
      await reader.close()
    },
  },
  {
    name: 'a command goes to one of the processes of its owner',
    async run(subject) {
      const contract = contractOf('command')
      const owner = consumerOf(contract, 'owner')
      const transports = [await subject.open('desk', plainForm), await subject.open('desk', plainForm)]
      for (const transport of transports) await transport.declare({ sends: [contract], consumers: [owner] })
      const texts = Array.from({ length: 40 }, (_, i) => String(i))
      const got: string[] = []
      let complete = (): void => {}
      const all = new Promise<void>((resolve) => (complete = resolve))
      for (const transport of transports) {
        await Inbox.open(transport, owner, 5, (delivery) => {
          got.push(textOf(delivery.raw.body))
          delivery.accept()
          if (got.length === texts.length) complete()
        })
      }
      const results = await transports[0]!.send(texts.map((text) => messageOf(contract, text)))
      assertEqual(new Set(results), new Set(['sent']), 'the results')
      await all
      await calm(subject)
      assertEqual(got.map(Number).toSorted(byNumber), texts.map(Number), 'what came')
      for (const transport of transports) await transport.close()
    },
  },
  {
    name: 'a command or request that no queue takes is unroutable; an event is sent; their neighbours are unharmed',
    async run(subject) {
      const [event, command, request, known] = [
        contractOf('event'),
        contractOf('command'),
        contractOf('request'),
        contractOf('command'),
      ]
      const transport = await subject.open('shop', plainForm)
      if (!transport.capabilities.returns) return transport.close()
      const owner = consumerOf(known, 'owner')
      await transport.declare({ sends: [event, command, request, known], consumers: [owner] })
      const results = await transport.send([
        messageOf(known, 'before'),
        messageOf(command, 'lost'),
        messageOf(event, 'heard by nobody'),
        messageOf(request, 'lost'),
        messageOf(known, 'after'),
      ])
      assertEqual(
        results.map((result) => (result instanceof SdkError ? result.code : result)),
        ['sent', 'unroutable', 'sent', 'unroutable', 'sent'],
        'the results',
      )
      for (const result of [results[1], results[3]])
        assert(result instanceof SdkError && result.retryable, 'it may be tried again: its owner may come yet')
      const inbox = await Inbox.open(transport, owner)
      assertEqual(await inbox.accept(2), ['before', 'after'], 'what came')
      return transport.close()
    },
  },
  {
    name: 'what nobody could receive reaches an owner that another service has declared since, ordered or not',
    async run(subject) {
      const sender = await subject.open('shop', plainForm)
      if (!sender.capabilities.returns) return sender.close()
      for (const more of [{}, { ordered: true, partitions: 3 }]) {
        const contract = contractOf('command')
        const message = messageOf(contract, 'patient', { key: 'k' })
        await sender.declare({ sends: [contract], consumers: [] })
        assertCode((await sender.send([message]))[0], 'unroutable')
        const owner = await subject.open('desk', plainForm)
        const consumer = consumerOf(contract, 'owner', more)
        await owner.declare({ sends: [], consumers: [consumer] })
        assertEqual(await sender.send([message]), ['sent'], 'the result')
        assertEqual(await (await Inbox.open(owner, consumer)).accept(1), ['patient'], 'what came')
        await owner.close()
      }
      return sender.close()
    },
  },
  {
    name: 'a contract that was not declared for sending can be sent all the same',
    async run(subject) {
      const [event, command] = [contractOf('event'), contractOf('command')]
      const transport = await subject.open('shop', plainForm)
      const [first, second] = await transport.send([messageOf(event, 'e'), messageOf(command, 'c')])
      assertEqual(first, 'sent', 'the event')
      if (transport.capabilities.returns) assertCode(second, 'unroutable')
      await transport.close()
    },
  },
  {
    name: 'what is too large is too_large, and nothing else is harmed',
    async run(subject) {
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader')
      const transport = await subject.open('shop', plainForm)
      await transport.declare({ sends: [contract], consumers: [consumer] })
      const inbox = await Inbox.open(transport, consumer)
      const body = new Uint8Array(transport.capabilities.bodyBytesMax + 1)
      const results = await transport.send([
        messageOf(contract, 'before'),
        messageOf(contract, '', { body }),
        messageOf(contract, 'after'),
      ])
      assertEqual([results[0], results[2]], ['sent', 'sent'], 'the others')
      assertCode(results[1], 'too_large')
      assert(!results[1].retryable, 'trying again does not help')
      assertEqual(await inbox.accept(2), ['before', 'after'], 'what came')
      await transport.close()
    },
  },
  {
    name: 'the largest body comes whole',
    async run(subject) {
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader')
      const transport = await subject.open('shop', plainForm)
      await transport.declare({ sends: [contract], consumers: [consumer] })
      const inbox = await Inbox.open(transport, consumer)
      const body = Uint8Array.from({ length: transport.capabilities.bodyBytesMax }, (_, i) => i & 0xff)
      assertEqual(await transport.send([messageOf(contract, '', { body })]), ['sent'], 'the result')
      const delivery = await inbox.next()
      assert(Buffer.compare(delivery.raw.body, body) === 0, 'the body is the same')
      delivery.accept()
      await transport.close()
    },
  },
  {
    name: 'bytes that the form knows no message in are delivered as they are, with no message',
    async run(subject) {
      const contract = contractOf('event')
      const consumer = consumerOf(contract, 'reader')
      const [stranger, reader] = [await subject.open('stranger', strangeForm), await subject.open('shop', plainForm)]
      await reader.declare({ sends: [], consumers: [consumer] })
      const inbox = await Inbox.open(reader, consumer)
      await stranger.send([messageOf(contract, 'who is there?')])
      const { message, raw, ...rest } = await inbox.next()
      assertEqual(message, null, 'the message')
      assertEqual(textOf(raw.body), 'who is there?', 'the body')
      assertEqual(raw.contentType, 'text/x-strange', 'the media type')
      assertEqual(raw.headers['greeting'], 'hello', 'the header')
      assert(rest !== undefined, 'the delivery can be settled')
      inbox.all[0]!.accept()
      await reader.send([messageOf(contract, 'us')])
      assertEqual(textOf((await inbox.next()).message?.body), 'us', 'what came next')
      for (const transport of [stranger, reader]) await transport.close()
    },
  },
  {
    name: 'declaring again changes nothing',
    async run(subject) {
      const contract = contractOf('event')
      const consumers = [consumerOf(contract, 'a'), consumerOf(contract, 'b', { ordered: true, partitions: 3 })]
      const transport = await subject.open('shop', plainForm)
      for (let n = 0; n < 3; n++) await transport.declare({ sends: [contract], consumers })
      await transport.send([messageOf(contract, '1', { key: 'k' })])
      await transport.declare({ sends: [contract], consumers })
      await transport.send([messageOf(contract, '2', { key: 'k' })])
      for (const consumer of consumers) {
        const inbox = await Inbox.open(transport, consumer)
        assertEqual(await inbox.accept(2), ['1', '2'], `what came to ${consumer.queue}`)
      }
      await transport.close()
    },
  },
]

const byNumber = (a: number, b: number): number => a - b
