import type { Message } from '../../message/message.ts'
import type { Transport } from '../port.ts'
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
  replyTo,
  sendSurely,
  textOf,
  type TransportPromise,
  type TransportSubject,
} from './parties.ts'

interface Asker {
  readonly transport: Transport
  readonly address: () => string
  readonly closePlace: () => Promise<void>
  readonly next: () => Promise<Message>
}

async function asker(subject: TransportSubject): Promise<Asker> {
  const transport = await subject.open('asker', plainForm)
  const replies: Message[] = []
  const waiting: (() => void)[] = []
  const place = await transport.openReplies((message) => {
    replies.push(message)
    for (const resolve of waiting.splice(0)) resolve()
  })
  return {
    transport,
    address: () => place.address(),
    closePlace: () => place.close(),
    async next() {
      while (replies.length === 0) await new Promise<void>((resolve) => waiting.push(resolve))
      return replies.shift()!
    },
  }
}

const asking = (address: string) => ({ metadata: { correlationId: 'c', replyTo: address } })

/** Requests and their replies. */
export const replyingPromises: readonly TransportPromise[] = [
  {
    name: 'a reply comes to the process that asked, and to no other',
    async run(subject) {
      const contract = contractOf('request')
      const consumer = consumerOf(contract, 'answerer')
      const answerer = await subject.open('answerer', plainForm)
      if (!answerer.capabilities.replies) return answerer.close()
      await answerer.declare({ sends: [], consumers: [consumer] })
      await Inbox.open(answerer, consumer, 10, (delivery) => {
        void answerer.send([replyTo(delivery.message!, `re: ${textOf(delivery.raw.body)}`)])
        delivery.accept()
      })
      const askers = [await asker(subject), await asker(subject)]
      assert(askers[0]!.address() !== askers[1]!.address(), 'every process has an address of its own')
      const requests = askers.map(({ address }, n) => messageOf(contract, String(n), asking(address())))
      for (const [n, { transport }] of askers.entries()) {
        await transport.declare({ sends: [contract], consumers: [] })
        assertEqual(await transport.send([requests[n]!]), ['sent'], 'the result')
      }
      for (const [n, { next }] of askers.entries()) {
        const reply = await next()
        assertEqual(
          [reply.kind, textOf(reply.body), reply.metadata.requestId],
          ['reply', `re: ${n}`, requests[n]!.id],
          'the reply',
        )
      }
      for (const { transport } of [...askers, { transport: answerer }]) await transport.close()
      return undefined
    },
  },
  {
    name: 'a reply to a place that is closed is unroutable',
    async run(subject) {
      const { transport, address, closePlace } = await asker(subject)
      if (!transport.capabilities.replies || !transport.capabilities.returns) return transport.close()
      const request = messageOf(contractOf('request'), 'x', asking(address()))
      await closePlace()
      const [result] = await transport.send([replyTo(request, 'too late')])
      assertCode(result, 'unroutable')
      assert(!result.retryable, 'trying again does not help')
      const [nowhere] = await transport.send([replyTo(messageOf(contractOf('request'), 'x'), 'to nobody')])
      assertCode(nowhere, 'unroutable')
      return transport.close()
    },
  },
  {
    name: 'after a lost connection replies come to the address of then',
    async run(subject) {
      if (subject.interrupt === undefined) return
      const { transport, address, next } = await asker(subject)
      if (!transport.capabilities.replies) return transport.close()
      await subject.interrupt()
      await connected(subject, transport)
      const request = messageOf(contractOf('request'), 'x', asking(address()))
      assertEqual(await sendSurely(subject, transport, [replyTo(request, 'after it')]), ['sent'], 'the result')
      assertEqual(textOf((await next()).body), 'after it', 'the reply')
      return transport.close()
    },
  },
]
