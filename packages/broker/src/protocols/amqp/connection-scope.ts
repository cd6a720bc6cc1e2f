import type { VHost } from '@stathmos/engine'
import type { Method, OutputBuffer, ReplyCode } from '@stathmos/wire/amqp'

import type { Output } from '../../session/output.ts'
import type { Transport } from '../../session/protocol.ts'
import type { AmqpContext } from './context.ts'
import type { ClientCapabilities } from './server-properties.ts'

/** A channel that owes confirms. */
export interface Owing {
  /** Confirms what is on disk when everything below `durablePosition` is. */
  tell(durablePosition: number): void
}

/** What a connection is to its channels and to the methods that are handled on it. */
export interface ConnectionScope {
  readonly context: AmqpContext
  readonly transport: Transport
  readonly output: Output<OutputBuffer>
  /** Null until authenticated. */
  readonly user: string | null
  /** Null until connection.open. */
  readonly broker: VHost | null
  readonly capabilities: ClientCapabilities
  readonly frameMax: number
  /** Names the present turn: what was received at once, or one release of a hold. */
  readonly turn: number
  /** The time of the latest turn, ms, for what needs no better. */
  readonly turnMs: number
  /** Nothing is read or written any more. */
  readonly over: boolean
  /** The socket is so far behind that consumers pause. */
  readonly congested: boolean

  send(channel: number, method: Method): void
  /** Handles no more frames until the returned function is called. */
  hold(): () => void
  /**
   * Runs `then` once everything that was done so far is on disk, or `done` resolves instead. Until then the connection
   * handles nothing else, so that its answers keep their order.
   */
  whenDurable(then: () => void, done?: Promise<unknown>): void
  /**
   * Runs `then`, the answer to a close, when what was sent before is on disk and can be consumed: who publishes
   * without confirms and says goodbye finds it there. During an alarm at once.
   */
  beforeGoodbye(then: () => void): void
  /** Whether a publish can be taken now. If not, the frames wait until it can. */
  admits(): boolean
  /** The channel has published something in this turn that must be confirmed. */
  owes(owing: Owing): void
  /**
   * Called after deliveries and answers: pauses all consumers when the socket takes less than they give, and handles
   * nothing more of a client that asks and does not read what it is told.
   */
  watchBacklog(): void
  /** Frees the number after channel.close-ok. */
  channelGone(number: number): void
  /** @throws {Refusal} 403 unless the user may do this to the queue or exchange */
  require(operation: 'configure' | 'write' | 'read', kind: 'queue' | 'exchange', name: string): void
  /** Says why, drops everything the client sends, and ends when it has answered or the time is up. */
  closeWith(code: ReplyCode, text: string, methodId: number): void
  /** What the operation at hand makes us notify the client of comes after its answer, as clients are used to. */
  deferNotices(): void
  /** Tells the client something that it did not ask for, or has it told by {@link sendNotices}. */
  notify(notice: () => void): void
  sendNotices(): void
}
