import { isDeepStrictEqual } from 'node:util'
import { SdkError, type SdkErrorCode } from '../../errors.ts'
import type { Message, MessageKind } from '../../message/message.ts'
import type { WireForm } from '../../wire/wire-form.ts'
import type { ConsumerTopology, ContractName, Delivery, SendResult, Subscription, Transport } from '../port.ts'

/** A transport under test: an engine that is empty at first, and processes that share it. */
export interface TransportSubject {
  /** Opens a transport for one more process of `service`. */
  open(service: string, form: WireForm): Promise<Transport>
  /** Lets so many ms pass on the transports' clock; resolves when what was due then has begun. */
  elapse(ms: number): Promise<void>
  /**
   * Breaks all connections; resolves when the transports have noticed. They are back some time later, as `elapse` counts
   * it. Left out: there are none.
   */
  readonly interrupt?: () => Promise<void>
  /** All transports are in the only process that there can be, so that nothing is shared among processes. */
  readonly oneProcess?: boolean
  /** Opens a transport that leads nowhere. Left out: there is no such thing. */
  readonly openNowhere?: () => Promise<void>
  /** Stops the engine in order and starts it again on what it has kept; no transport is open. Left out: it keeps nothing. */
  readonly restart?: () => Promise<void>
  /** Called at the end of each promise: closes what is open still. */
  close(): Promise<void>
}

/** A promise of a transport, and how to see that it is kept: rejects when it is not. */
export interface TransportPromise {
  readonly name: string
  readonly run: (subject: TransportSubject) => Promise<void>
}

export function assert(fact: boolean, what: string): asserts fact {
  if (!fact) throw new Error(what)
}

export function assertEqual(actual: unknown, expected: unknown, what: string): void {
  if (isDeepStrictEqual(actual, expected)) return
  throw new Error(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`)
}

export function assertCode(result: SendResult | undefined, code: SdkErrorCode): asserts result is SdkError {
  assert(result instanceof SdkError, `expected ${code}, got ${String(result)}`)
  assertEqual(result.code, code, 'the error')
}

/** A form of the suite's own: the body is the body, and all else is one header. */
export const plainForm: WireForm = {
  name: 'plain',
  encode({ body, contentType, ...rest }) {
    return { headers: { 'x-message': JSON.stringify(rest) }, contentType, body }
  },
  decode({ headers, contentType, body }) {
    const rest = headers['x-message']
    if (rest === undefined) throw new SdkError('malformed_message', 'the header x-message is missing')
    return { ...(JSON.parse(rest) as Omit<Message, 'body' | 'contentType'>), body, contentType }
  },
}

/** A stranger's way to write: nobody who reads {@link plainForm} finds a message in it. */
export const strangeForm: WireForm = {
  name: 'strange',
  encode: ({ body }) => ({ headers: { greeting: 'hello' }, contentType: 'text/x-strange', body }),
  decode() {
    throw new SdkError('malformed_message', 'strangers do not read')
  },
}

let ids = 0

/** A message with the text as its body. */
export function messageOf(contract: ContractName, text: string, more: Partial<Message> = {}): Message {
  return { ...bare(contract.kind, contract.type, text), ...more }
}

export function replyTo(request: Message, text: string): Message {
  const message = bare('reply', request.type, text)
  const { replyTo: address } = request.metadata
  const metadata = { ...message.metadata, requestId: request.id, ...(address !== undefined && { replyTo: address }) }
  return { ...message, metadata }
}

function bare(kind: MessageKind, type: string, text: string): Message {
  const id = `m-${++ids}`
  return {
    id,
    kind,
    type,
    version: 1,
    source: 'sender',
    time: 1_700_000_000_000 + ids,
    key: null,
    keySeq: null,
    contentType: 'text/plain',
    body: new TextEncoder().encode(text),
    metadata: { correlationId: id },
  }
}

export function textOf(body: Uint8Array | undefined): string {
  return new TextDecoder().decode(body)
}

/** Names that no other promise uses, for suites whose subjects share an engine. */
export function consumerOf(
  contract: ContractName,
  name: string,
  more: Partial<ConsumerTopology> = {},
): ConsumerTopology {
  return { queue: `${contract.type}.${name}`, contract, ordered: false, partitions: 1, ...more }
}

export function contractOf(kind: ContractName['kind']): ContractName {
  return { kind, type: `contract${++ids}.${kind}` }
}

/** What one process gets, in the order in which it came. */
export class Inbox {
  readonly all: Delivery[] = []
  readonly #subscription: Promise<Subscription>
  readonly #waiting: (() => void)[] = []
  #read = 0

  constructor(transport: Transport, consumer: ConsumerTopology, prefetch = 100, then?: (delivery: Delivery) => void) {
    this.#subscription = transport.subscribe(consumer, prefetch, (delivery) => {
      this.all.push(delivery)
      then?.(delivery)
      for (const resolve of this.#waiting.splice(0)) resolve()
    })
  }

  static async open(
    transport: Transport,
    consumer: ConsumerTopology,
    prefetch?: number,
    then?: (delivery: Delivery) => void,
  ): Promise<Inbox> {
    const inbox = new Inbox(transport, consumer, prefetch, then)
    await inbox.#subscription
    return inbox
  }

  get subscription(): Promise<Subscription> {
    return this.#subscription
  }

  /** What has come and was not asked for yet. */
  get unread(): number {
    return this.all.length - this.#read
  }

  get texts(): string[] {
    return this.all.map(({ raw }) => textOf(raw.body))
  }

  /** The next delivery, as soon as there is one. */
  async next(): Promise<Delivery> {
    while (this.unread === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    return this.all[this.#read++]!
  }

  /** The texts of the next `count` deliveries, all of which it accepts. */
  async accept(count: number): Promise<string[]> {
    const texts: string[] = []
    while (texts.length < count) {
      const delivery = await this.next()
      texts.push(textOf(delivery.raw.body))
      delivery.accept()
    }
    return texts
  }
}

/** Resolves when what was sent and settled before has come wherever it was going: a message that goes the whole way came, three times. */
export async function calm(subject: TransportSubject): Promise<void> {
  const contract = contractOf('event')
  const transport = await subject.open('calm', plainForm)
  const consumer = consumerOf(contract, 'probe')
  await transport.declare({ sends: [contract], consumers: [consumer] })
  const inbox = await Inbox.open(transport, consumer)
  for (let round = 0; round < 3; round++) {
    await transport.send([messageOf(contract, 'calm')])
    await inbox.accept(1)
  }
  await transport.close()
}

/** Sends as relays do: again, as long as nothing is known. */
export async function sendSurely(
  subject: TransportSubject,
  transport: Transport,
  messages: readonly Message[],
): Promise<readonly SendResult[]> {
  for (;;) {
    try {
      return await transport.send(messages)
    } catch (error) {
      assert(error instanceof SdkError && error.code === 'transport_down', `send rejects with ${String(error)}`)
      assert(error.retryable, 'transport_down is retryable')
      await subject.elapse(1_000)
    }
  }
}

/** Resolves when the transport is connected, letting time pass meanwhile. */
export async function connected(subject: TransportSubject, transport: Transport): Promise<void> {
  let up = false
  const end = transport.watch((now) => (up = now))
  while (!up) await subject.elapse(1_000)
  end()
}
