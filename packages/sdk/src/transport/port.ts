import type { Clock } from '../time/clock.ts'
import type { SdkError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Message, MessageKind } from '../message/message.ts'
import type { Random } from '../random.ts'
import type { WireForm } from '../wire/wire-form.ts'

/**
 * What moves messages between services: the embedded engine, Stathmos or RabbitMQ over AMQP, and later others. It promises
 * no more than at least once; retries, delays, dead letters and deduplication are the store's.
 */
export interface Transport {
  /** For the operator: `amqp`, `embedded`. */
  readonly name: string
  readonly capabilities: Capabilities
  /**
   * Names the engine, the same to everybody who is connected to it, by whatever address; once it is open. Null or absent
   * where that is not known.
   */
  readonly engine?: string | null
  /** What it gives every queue that it makes, as JSON has it: who makes one elsewhere has to give the same. Absent: nothing. */
  readonly queueArguments?: Readonly<Record<string, unknown>>
  /**
   * Connects, and from then on reconnects by itself.
   *
   * @throws {SdkError} `transport_down` when the first connection fails
   */
  open(surroundings: TransportSurroundings): Promise<void>
  /**
   * Makes what the service needs at the engine: places for the contracts it sends and consumes, and durable queues for its
   * consumers. Idempotent, and repeated by the transport after a reconnect. Events that are sent after it resolved are
   * kept for every consumer that was declared, whether it is running or not.
   */
  declare(topology: Topology): Promise<void>
  /**
   * Sends messages in order and resolves when the engine answers for each of them. Of one key the order is kept as long as
   * the calls are made one after the other. Events reach every consumer of their contract, commands and requests one
   * queue, and a reply the address in its own `metadata.replyTo`, which is the request's. What nobody can receive is
   * `sent` when it is an event, and `unroutable` otherwise: retryable, because whoever handles it may be declared later,
   * unless it is a reply.
   *
   * @throws {SdkError} `transport_down`, retryable: nothing is known of any of them
   */
  send(messages: readonly Message[]): Promise<readonly SendResult[]>
  /**
   * Delivers a consumer's messages to `receive`, at most `prefetch` unsettled at a time, until it is closed; across
   * reconnects. A message that is not settled when the connection is lost is delivered again.
   */
  subscribe(consumer: ConsumerTopology, prefetch: number, receive: (delivery: Delivery) => void): Promise<Subscription>
  /** A place for the replies to this process's requests, until it is closed; its address may change with a reconnect. */
  openReplies(receive: (message: Message) => void): Promise<ReplyPlace>
  /** Calls `changed` with whether it is connected: before it returns, and when that changes. Returns what ends it. */
  watch(changed: (up: boolean) => void): () => void
  /** Settles nothing more and disconnects. What is unsettled is delivered again, here or elsewhere. */
  close(): Promise<void>
}

/** What a transport can do by itself. Services that need something else than what is there fail at start. */
export interface Capabilities {
  /** Messages of one key reach one process at a time, in the order of sending. */
  readonly ordering: boolean
  /** Sending is confirmed when the message is safe. */
  readonly confirm: boolean
  /** Messages that nobody can receive are given back to the sender. */
  readonly returns: boolean
  /** Requests and replies. */
  readonly replies: boolean
  /** Largest body in bytes. */
  readonly bodyBytesMax: number
}

/** What a transport is given by the service that it works for. */
export interface TransportSurroundings {
  /** The service's name. */
  readonly service: string
  readonly form: WireForm
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** A contract as transports see it. */
export interface ContractName {
  readonly kind: Exclude<MessageKind, 'reply'>
  readonly type: string
}

/** A consumer of one contract, and the queues that it needs. */
export interface ConsumerTopology {
  /** `<service>.<consumer>`, unique among all services of the engine; for commands and requests the owner's queue. */
  readonly queue: string
  readonly contract: ContractName
  /** One process at a time receives the messages of a key. */
  readonly ordered: boolean
  /** Queues that an ordered consumer's keys are spread over, 1 to 64: as many processes can share the work. */
  readonly partitions: number
}

/** All that a service needs of an engine: it is there when `declare` has resolved. */
export interface Topology {
  readonly sends: readonly ContractName[]
  readonly consumers: readonly ConsumerTopology[]
}

/** `sent`: the engine has it on disk. An error that is `retryable` may be tried again; others are the message's own fault. */
export type SendResult = 'sent' | SdkError

/** A message that was delivered. It is settled once, by one of the two; later calls, and those after a lost connection, do nothing. */
export interface Delivery {
  /** Null when the bytes are no message that the wire form knows. */
  readonly message: Message | null
  /** The bytes and headers as they came: of what is no message, all there is. */
  readonly raw: {
    readonly headers: Readonly<Record<string, string>>
    readonly contentType: string
    readonly body: Uint8Array
  }
  /** Whether somebody may have seen it before. */
  readonly redelivered: boolean
  /** It is done with; the engine forgets it. */
  accept(): void
  /**
   * It was not handled; the engine delivers it again, here or elsewhere, in its own place among the others. With `delayMs`
   * it stays unsettled that long by the transport's clock, and counts toward `prefetch`; a lost connection ends the delay.
   */
  release(delayMs?: number): void
}

/** Deliveries of one consumer in this process. */
export interface Subscription {
  /** Has nothing more delivered for a while; what is unsettled stays so. */
  pause(): void
  resume(): void
  /**
   * Resolves when nothing more will be delivered. What is unsettled can still be settled until the transport is closed;
   * of an ordered consumer, other processes get nothing of its keys before that.
   */
  close(): Promise<void>
}

/** Where replies to this process's requests arrive. */
export interface ReplyPlace {
  /** To be put into a request as `metadata.replyTo`, at the moment it is sent. */
  address(): string
  close(): Promise<void>
}
