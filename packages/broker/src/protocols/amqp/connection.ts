import { EngineError, NO_HEADERS, type Headers, type VHost } from '@stathmos/engine'
import type { Timer } from '@stathmos/std'
import {
  FRAME_HEARTBEAT,
  FRAME_METHOD,
  HEARTBEAT,
  METHOD_ID,
  type Method,
  type OutputBuffer,
  ProtocolError,
  REPLY,
  type FrameScan,
  type ReplyCode,
  type Table,
  decodeMethod,
  encodeMethod,
} from '@stathmos/wire/amqp'

import { Output } from '../../session/output.ts'
import type { Peer, Session, Transport } from '../../session/protocol.ts'
import type { ChannelInfo, SessionInfo } from '../../session/registry.ts'
import { AmqpChannel } from './channel.ts'
import type { Owing } from './connection-scope.ts'
import type { AmqpContext } from './context.ts'
import { Refusal, refusalOf, replyText } from './errors.ts'
import { Gate } from './gate.ts'
import { Heartbeat, type HeartbeatActions } from './heartbeat.ts'
import { type FrameSink, Intake } from './intake.ts'
import { headersOfTable } from './message.ts'
import { type Negotiated, Negotiation } from './negotiation.ts'
import { type ClientCapabilities, NO_CAPABILITIES } from './server-properties.ts'
import { updateSecret } from './handlers/connection.ts'
import { handle } from './handlers/index.ts'

/** Room for most methods; longer ones make the buffer grow. */
const METHOD_BYTES = 512

/**
 * What a connection goes through. `closing`: our connection.close is under way, everything but its
 * answer is dropped. `over`: nothing is read or written any more.
 */
type Phase = 'negotiating' | 'running' | 'closing' | 'over'

/** One AMQP 0-9-1 connection. What its parts may ask of it is described where they do. */
export class AmqpConnection implements Session, SessionInfo, FrameSink, HeartbeatActions, Negotiated {
  readonly protocol = 'AMQP 0-9-1'
  readonly id: number
  readonly connectedAtMs: number
  readonly context: AmqpContext
  readonly transport: Transport
  readonly output: Output<OutputBuffer>
  user: string | null = null
  /** Set while channels can be open. */
  broker: VHost | null = null
  capabilities: ClientCapabilities = NO_CAPABILITIES
  clientProperties: Headers = NO_HEADERS
  heartbeatSeconds = 0
  frameMax = 0
  turn = 0
  turnMs: number
  readonly #intake: Intake
  readonly #negotiation: Negotiation
  readonly #channels: (AmqpChannel | undefined)[] = []
  #channelMax = 0
  #channelCount = 0
  #heartbeat: Heartbeat | null = null
  #closeTimer: Timer | null = null
  #phase: Phase = 'negotiating'
  /** Channels that published in this turn and owe confirms. */
  readonly #toTell: Owing[] = []
  readonly #gate: Gate
  #congested = false
  /** Goes on with the peer's frames once it has read our answers; null: it need not. */
  #hearAgain: (() => void) | null = null
  #writesSeen = 0
  #ownsResources = false
  #methodId = 0
  /** Notices that wait until the operation which caused them has been answered. */
  #notices: (() => void)[] | null = null

  constructor(context: AmqpContext, transport: Transport) {
    const { world } = context
    this.context = context
    this.transport = transport
    this.id = world.registry.nextId()
    this.connectedAtMs = world.clock.now()
    this.turnMs = world.clock.monotonic()
    this.output = new Output(context.output, transport)
    this.#intake = new Intake(this, transport, context.input)
    this.#gate = new Gate(this)
    this.#negotiation = new Negotiation(this)
    world.registry.add(this)
  }

  get peer(): Peer {
    return this.transport.peer
  }

  get vhost(): string | null {
    return this.broker === null ? null : this.broker.name
  }

  get blocked(): boolean {
    return this.#gate.closed
  }

  get over(): boolean {
    return this.#phase === 'over'
  }

  get writes(): number {
    return this.output.writes
  }

  get deaf(): boolean {
    return this.#intake.held
  }

  get congested(): boolean {
    return this.#congested
  }

  // ---- Session

  receive(chunk: Uint8Array): void {
    if (this.#phase === 'over') return
    this.#beginTurn()
    if (this.#heartbeat !== null) this.#heartbeat.heard = true
    this.#intake.receive(chunk)
  }

  writable(): void {
    if (!this.#congested) return
    this.#congested = false
    for (const channel of this.#channels) channel?.deliveries.resume()
    const hearAgain = this.#hearAgain
    this.#hearAgain = null
    hearAgain?.()
  }

  disconnected(): void {
    this.#end()
  }

  drain(reason: string): void {
    this.close(reason)
  }

  close(reason: string): void {
    if (this.#phase === 'closing' || this.#phase === 'over') return
    const text = `broker forced connection closure with reason '${reason}'`
    this.closeWith(REPLY.connectionForced, replyText(REPLY.connectionForced, text), 0)
  }

  channels(): ChannelInfo[] {
    return this.#channels.filter((channel) => channel !== undefined).map((channel) => channel.info())
  }

  // ---- frames

  header(bytes: Uint8Array, start: number): void {
    this.#negotiation.header(bytes, start)
  }

  frame(scan: FrameScan, bytes: Uint8Array, view: DataView, end: number): boolean {
    const number = scan.channel
    if (number === 0) {
      this.#zero(scan, bytes, view)
      return true
    }
    if (this.#phase !== 'running') {
      if (this.#phase === 'closing') return true
      throw new Refusal(REPLY.channelError, 'no channel before connection.open')
    }
    const channel = this.#channels[number]
    if (channel === undefined) this.#openChannel(scan, bytes, view)
    else if (!channel.frame(scan, bytes, view, end)) return false
    this.watchBacklog()
    return true
  }

  failed(error: unknown, channelNumber: number): void {
    const refusal = refusalFor(error)
    if (this.#phase === 'closing' || this.#phase === 'over') return
    const channel = this.#channels[channelNumber]
    const methodId = channel?.methodId ?? this.#methodId
    if (refusal.scope === 'channel' && channel !== undefined) channel.fail(refusal)
    else this.closeWith(refusal.code, refusal.message, methodId)
    this.sendNotices()
  }

  broken(error: unknown): void {
    const refusal = refusalFor(error)
    if (this.#phase === 'running' || this.#phase === 'negotiating') {
      this.closeWith(refusal.code, refusal.message, 0)
    }
    this.finish()
  }

  settled(): void {
    const owing = this.#toTell
    if (owing.length === 0) return
    const { engine } = this.context.world
    for (const each of owing) each.tell(engine.durablePosition)
    owing.length = 0
  }

  // ---- for the negotiation

  introduced(clientProperties: Table, capabilities: ClientCapabilities): void {
    this.clientProperties = headersOfTable(clientProperties)
    this.capabilities = capabilities
  }

  authenticated(user: string): void {
    this.user = user
  }

  tuned(channelMax: number, frameMax: number, heartbeatSeconds: number): void {
    this.#channelMax = channelMax
    this.frameMax = frameMax
    this.#intake.frameMax = frameMax
    this.heartbeatSeconds = heartbeatSeconds
    if (heartbeatSeconds > 0) this.#heartbeat = new Heartbeat(this.context.world.clock, heartbeatSeconds, this)
  }

  opened(vhost: VHost): void {
    this.broker = vhost
    this.#phase = 'running'
  }

  // ---- for channels and handlers

  send(channel: number, method: Method): void {
    if (this.#phase === 'over') return
    encodeMethod(this.output.room(METHOD_BYTES), channel, method)
  }

  deferNotices(): void {
    this.#notices = []
  }

  notify(notice: () => void): void {
    if (this.#notices === null) notice()
    else this.#notices.push(notice)
  }

  sendNotices(): void {
    const notices = this.#notices
    if (notices === null) return
    this.#notices = null
    for (const notice of notices) notice()
  }

  writeRaw(bytes: Uint8Array): void {
    this.output.flush()
    this.output.writes++
    this.transport.write(bytes, null)
  }

  hold(): () => void {
    const release = this.#intake.hold()
    return () => {
      if (this.#phase === 'over') return
      this.#beginTurn()
      release()
    }
  }

  beforeGoodbye(then: () => void): void {
    if (this.context.world.engine.flow.blocked === null) this.whenDurable(then)
    else then()
  }

  whenDurable(then: () => void, done: Promise<unknown> = this.context.world.engine.durably()): void {
    const release = this.hold()
    done.then(
      () => {
        if (this.#phase === 'over') return
        then()
        release()
      },
      () => {
        // Storage has failed and the process is on its way out: whatever was asked is not answered.
        this.abandon()
      },
    )
  }

  admits(): boolean {
    return this.#gate.admits()
  }

  owes(owing: Owing): void {
    this.#toTell.push(owing)
  }

  watchBacklog(): void {
    if (this.output.writes === this.#writesSeen) return
    this.#writesSeen = this.output.writes
    const { backlog } = this.transport
    const { backlogBytesHigh, messageBytesMax } = this.context.world.limits
    if (backlog < backlogBytesHigh) return
    if (!this.#congested) {
      this.#congested = true
      for (const channel of this.#channels) channel?.deliveries.pause()
    }
    // Deliveries alone never leave so much: these are answers. Below, a client that reads only once it has sent goes on.
    if (backlog >= backlogBytesHigh + messageBytesMax) this.#hearAgain ??= this.hold()
  }

  channelGone(number: number): void {
    if (this.#channels[number] === undefined) return
    this.#channels[number] = undefined
    this.#channelCount--
  }

  require(operation: 'configure' | 'write' | 'read', kind: 'queue' | 'exchange', name: string): void {
    const { access } = this.context.world.engine
    const vhost = this.broker!.name
    // The default exchange has no name to match a pattern with; RabbitMQ gives it this one.
    const known = kind === 'exchange' && name === '' ? 'amq.default' : name
    if (access.permits(this.user!, vhost, operation, known)) return
    const text = `${operation} access to ${kind} '${known}' in vhost '${vhost}' refused for user '${this.user}'`
    throw new Refusal(REPLY.accessRefused, text)
  }

  // ---- the end

  closeWith(code: ReplyCode, text: string, methodId: number): void {
    if (this.#phase === 'closing' || this.#phase === 'over') return
    this.#phase = 'closing'
    this.#negotiation.stop()
    this.#release(code === REPLY.connectionForced ? 'return' : 'fail')
    this.send(0, {
      name: 'connection.close',
      replyCode: code,
      replyText: text,
      classId: methodId >>> 16,
      methodId: methodId & 0xffff,
    })
    this.#closeTimer = this.context.world.clock.after(this.context.options.limits.closeMs, () => this.abandon())
  }

  finish(): void {
    if (this.#phase === 'over') return
    this.output.flush()
    this.transport.end()
    this.#end()
  }

  abandon(): void {
    this.transport.destroy()
    this.#end()
  }

  beat(): void {
    this.writeRaw(HEARTBEAT)
  }

  dead(): void {
    this.abandon()
  }

  #beginTurn(): void {
    this.turn++
    this.turnMs = this.context.world.clock.monotonic()
  }

  #zero(scan: FrameScan, bytes: Uint8Array, view: DataView): void {
    if (scan.type === FRAME_HEARTBEAT) {
      if (scan.payloadEnd === scan.payloadStart) return
      throw new Refusal(REPLY.frameError, 'a heartbeat has no payload')
    }
    if (scan.type !== FRAME_METHOD) {
      throw new Refusal(REPLY.unexpectedFrame, 'expected method frame, got non method frame on channel 0 instead')
    }
    const method = decodeMethod(view, bytes, scan.payloadStart, scan.payloadEnd)
    this.#methodId = METHOD_ID[method.name]
    if (method.name === 'connection.close') {
      this.#release('fail')
      return this.beforeGoodbye(() => {
        this.send(0, { name: 'connection.close-ok' })
        this.finish()
      })
    }
    if (this.#phase === 'closing') {
      if (method.name === 'connection.close-ok') this.finish()
      return
    }
    if (this.#phase === 'negotiating') return this.#negotiation.method(method)
    if (method.name === 'connection.update-secret') return updateSecret(this)
    throw new Refusal(REPLY.commandInvalid, `'${method.name}' is not for the broker, or not on channel 0`)
  }

  #openChannel(scan: FrameScan, bytes: Uint8Array, view: DataView): void {
    const number = scan.channel
    const { type, payloadStart, payloadEnd } = scan
    if (type === FRAME_HEARTBEAT) throw new Refusal(REPLY.unexpectedFrame, `heartbeat on channel ${number}`)
    const id = type !== FRAME_METHOD || payloadEnd - payloadStart < 4 ? 0 : view.getUint32(payloadStart)
    this.#methodId = id
    // Whoever answered a close twice has what was wanted: the channel is gone.
    if (id === METHOD_ID['channel.close-ok']) return
    if (id !== METHOD_ID['channel.open']) {
      throw new Refusal(REPLY.channelError, "expected 'channel.open'")
    }
    decodeMethod(view, bytes, payloadStart, payloadEnd)
    if (number > this.#channelMax || this.#channelCount >= this.#channelMax) {
      const text = `number of channels opened (${this.#channelCount}) has reached the negotiated channel_max (${this.#channelMax})`
      throw new Refusal(REPLY.notAllowed, text)
    }
    this.#channels[number] = new AmqpChannel(this, number, handle)
    this.#channelCount++
    this.#ownsResources = true
    this.send(number, { name: 'channel.open-ok' })
  }

  /** Gives back what the channels hold and deletes what was exclusive to the connection. */
  #release(outcome: 'fail' | 'return'): void {
    if (!this.#ownsResources) return
    this.#ownsResources = false
    for (const channel of this.#channels) channel?.dispose(outcome)
    this.#channels.length = 0
    this.#toTell.length = 0
    this.broker?.closeOwner(this)
  }

  #end(): void {
    if (this.#phase === 'over') return
    this.#phase = 'over'
    this.#negotiation.stop()
    this.#heartbeat?.stop()
    this.#closeTimer?.cancel()
    this.#intake.stop()
    this.output.close()
    this.#gate.forget()
    this.#release('fail')
    this.context.world.registry.remove(this.id)
  }
}

/** What the peer is told of an error. Anything that is not its doing goes on up: it is our own mistake. */
function refusalFor(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  if (error instanceof EngineError) return refusalOf(error)
  if (error instanceof ProtocolError) return new Refusal(error.code, error.message, 'connection')
  throw error
}
