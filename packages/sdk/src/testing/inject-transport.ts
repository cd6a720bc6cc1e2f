import { SdkError } from '../errors.ts'
import type { Delivery, Transport } from '../transport/port.ts'
import type { Faults } from './faults.ts'

const lost = (): SdkError =>
  new SdkError('transport_down', 'the connection to the engine was lost, because a test wanted it', { retryable: true })

/**
 * A transport as a process sees it that may die, or lose its connection, at each of its calls. Besides the calls' own
 * names there are the steps `deliver` and `reply` (before a message reaches the process), `accept` and `release`; where a
 * delivery fails, it comes again. A process that dies is disconnected, and the engine goes on for others.
 */
export function injectTransport(transport: Transport, faults: Faults): Transport {
  const simple = <T>(call: string, work: () => Promise<T>): Promise<T> => faults.around(call, lost, work)
  faults.onCrash(() => void transport.close().catch(() => {}))
  return {
    name: transport.name,
    capabilities: transport.capabilities,
    get engine() {
      return transport.engine ?? null
    },
    open: (surroundings) => simple('open', () => transport.open(surroundings)),
    declare: (topology) => simple('declare', () => transport.declare(topology)),
    send: (messages) => simple('send', () => transport.send(messages)),
    subscribe: (consumer, prefetch, receive) =>
      simple('subscribe', () =>
        transport.subscribe(consumer, prefetch, (delivery) => deliver(delivery, faults, receive)),
      ),
    openReplies: (receive) =>
      simple('openReplies', () =>
        transport.openReplies((message) => {
          const fault = faults.at('reply', 'before')
          if (fault !== 'crash' && fault !== 'fail') receive(message)
          if (fault === 'duplicate') receive(message)
        }),
      ),
    watch(changed) {
      const end = transport.watch(changed)
      faults.onCrash(end)
      return end
    },
    close: () => simple('close', () => transport.close()),
  }
}

function deliver(delivery: Delivery, faults: Faults, receive: (delivery: Delivery) => void): void {
  const fault = faults.at('deliver', 'before')
  if (fault === 'crash') return
  if (fault === 'fail') return delivery.release()
  const { message, raw, redelivered } = delivery
  receive({
    message,
    raw,
    redelivered,
    accept() {
      const before = faults.at('accept', 'before')
      if (before === 'crash') return
      if (before === 'fail') return delivery.release()
      delivery.accept()
      faults.at('accept', 'after')
    },
    release(delayMs) {
      if (faults.at('release', 'before') !== 'crash') delivery.release(delayMs)
    },
  })
  // As after a lost acknowledgement. The engine knows of one delivery, and the first one settles it.
  if (fault === 'duplicate') receive({ message, raw, redelivered: true, accept() {}, release() {} })
}
