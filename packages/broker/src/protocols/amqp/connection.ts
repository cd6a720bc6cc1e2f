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
import type { AmqpContext, Blocked } from './context.ts'
import { Refusal, refusalOf, replyText } from './errors.ts'
import { Heartbeat, type HeartbeatActions } from './heartbeat.ts'
import { type FrameSink, Intake } from './intake.ts'
import { headersOfTable } from './message.ts'
import { Negotiation } from './negotiation.ts'
import type { Publishing } from './publishing.ts'
import { type ClientCapabilities, NO_CAPABILITIES } from './server-properties.ts'
import { updateSecret } from './handlers/connection.ts'

/** Room for most methods; longer ones make the buffer grow. */
const METHOD_BYTES = 512

/**
 * What a connection goes through. `closing`: our connection.close is under way, everything but its
 * answer is dropped. `over`: nothing is read or written any more.
 */
type Phase = 'negotiating' | 'running' | 'closing' | 'over'

/** One AMQP 0-9-1 connection. */
export class AmqpConnection implements Session, SessionInfo, FrameSink, HeartbeatActions, Blocked {
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
  /** Names the present turn: one {@link receive}, or one release of a hold. */
  turn = 0
  /** The time of the latest turn, ms, for what needs no better. */
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
  readonly #toTell: Publishing[] = []
  #unblocked: (() => void) | null = null
  #toldBlocked = false
  #congested = false
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
    return this.#unblocked !== null
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

  /** The socket is so far behind that consumers pause. */
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
  }

  disconnected(): void {
    this.#end(true)
    this.#closeTimer?.cancel()
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
    if (channel !== undefined) return channel.frame(scan, bytes, view, end)
    this.#openChannel(scan, bytes, view)
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
    for (const publishing of owing) publishing.tell(engine.durablePosition)
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

  /** What the operation at hand makes us notify the client of comes after its answer, as clients are used to. */
  deferNotices(): void {
    this.#notices = []
  }

  /** Tells the client something that it did not ask for, or has it told by {@link sendNotices}. */
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

  /** Sends constant bytes at once, after what waits. */
  writeRaw(bytes: Uint8Array): void {
    this.output.flush()
    this.output.writes++
    this.transport.write(bytes, null)
  }

  /** Handles no more frames until the returned function is called. */
  hold(): () => void {
    const release = this.#intake.hold()
    return () => {
      if (this.#phase === 'over') return
      this.#beginTurn()
      release()
    }
  }

  /**
   * Runs `then` once everything that was done so far is on disk. Until then the connection handles
   * nothing else, so that its answers keep their order.
   */
  whenDurable(then: () => void): void {
    const done = this.hold()
    this.context.world.engine.durably().then(
      () => {
        if (this.#phase === 'over') return
        then()
        done()
      },
      () => {
        // Storage has failed and the process is on its way out: whatever was asked is not answered.
        this.abandon()
      },
    )
  }

  /** Whether a publish can be taken now. If not, the frames wait until it can. */
  admits(): boolean {
    const { engine } = this.context.world
    if (engine.flow.blocked !== null) {
      this.#block(engine.flow.blocked)
      return false
    }
    if (engine.canAccept()) return true
    engine.onAccept(this.hold())
    return false
  }

  /** The channel has published something that must be confirmed. */
  owes(publishing: Publishing): void {
    this.#toTell.push(publishing)
  }

  /** Called after deliveries: pauses all consumers when the socket takes less than they give. */
  watchBacklog(): void {
    if (this.output.writes === this.#writesSeen) return
    this.#writesSeen = this.output.writes
    if (this.#congested || this.transport.backlog < this.context.world.limits.backlogBytesHigh) return
    this.#congested = true
    for (const channel of this.#channels) channel?.deliveries.pause()
  }

  /** Frees the number after channel.close-ok. */
  channelGone(number: number): void {
    if (this.#channels[number] === undefined) return
    this.#channels[number] = undefined
    this.#channelCount--
  }

  /** @throws {Refusal} 403 unless the user may do this to the queue or exchange */
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

  /** Says why, drops everything the client sends, and ends when it has answered or the time is up. */
  closeWith(code: ReplyCode, text: string, methodId: number): void {
    if (this.#phase === 'closing' || this.#phase === 'over') return
    this.#phase = 'closing'
    this.#negotiation.stop()
    this.#release(false)
    this.send(0, {
      name: 'connection.close',
      replyCode: code,
      replyText: text,
      classId: methodId >>> 16,
      methodId: methodId & 0xffff,
    })
    this.#endIn(this.context.options.limits.closeMs)
  }

  /** Sends what waits and ends the transport. */
  finish(): void {
    if (this.#phase === 'over') return
    this.output.flush()
    this.transport.end()
    this.#end(false)
    // The peer may never close its side.
    this.#endIn(this.context.options.limits.closeMs)
  }

  /** Drops the connection without a word. */
  abandon(): void {
    this.transport.destroy()
    this.#end(true)
  }

  beat(): void {
    this.writeRaw(HEARTBEAT as Uint8Array)
  }

  dead(): void {
    this.abandon()
  }

  unblock(): void {
    const done = this.#unblocked
    if (done === null) return
    this.#unblocked = null
    if (this.#toldBlocked) this.send(0, { name: 'connection.unblocked' })
    this.#toldBlocked = false
    done()
  }

  #beginTurn(): void {
    this.turn++
    this.turnMs = this.context.world.clock.monotonic()
  }

  #block(alarm: string): void {
    if (this.#unblocked !== null) return
    this.#unblocked = this.hold()
    this.#toldBlocked = this.capabilities.connectionBlocked
    if (this.#toldBlocked) this.send(0, { name: 'connection.blocked', reason: `low on ${alarm}` })
    this.context.awaitUnblocked(this)
  }

  #zero(scan: FrameScan, bytes: Uint8Array, view: DataView): void {
    if (scan.type === FRAME_HEARTBEAT) return
    if (scan.type !== FRAME_METHOD) {
      throw new Refusal(REPLY.unexpectedFrame, 'expected method frame, got non method frame on channel 0 instead')
    }
    const method = decodeMethod(view, bytes, scan.payloadStart, scan.payloadEnd)
    this.#methodId = METHOD_ID[method.name]
    if (method.name === 'connection.close') {
      this.#release(false)
      this.send(0, { name: 'connection.close-ok' })
      return this.finish()
    }
    if (this.#phase === 'closing') {
      if (method.name === 'connection.close-ok') this.finish()
      return
    }
    if (this.#phase === 'negotiating') return this.#negotiation.method(method)
    if (method.name === 'connection.update-secret') return updateSecret(this, method)
    throw new Refusal(REPLY.commandInvalid, `'${method.name}' is not for the broker, or not on channel 0`)
  }

  #openChannel(scan: FrameScan, bytes: Uint8Array, view: DataView): void {
    const number = scan.channel
    const { type, payloadStart, payloadEnd } = scan
    if (type === FRAME_HEARTBEAT) throw new Refusal(REPLY.unexpectedFrame, `heartbeat on channel ${number}`)
    const id = payloadEnd - payloadStart < 4 ? 0 : view.getUint32(payloadStart)
    if (type !== FRAME_METHOD || id !== METHOD_ID['channel.open']) {
      throw new Refusal(REPLY.channelError, "expected 'channel.open'")
    }
    decodeMethod(view, bytes, payloadStart, payloadEnd)
    if (number > this.#channelMax || this.#channelCount >= this.#channelMax) {
      const text = `number of channels opened (${this.#channelCount}) has reached the negotiated channel_max (${this.#channelMax})`
      throw new Refusal(REPLY.notAllowed, text)
    }
    this.#channels[number] = new AmqpChannel(this, number)
    this.#channelCount++
    this.#ownsResources = true
    this.send(number, { name: 'channel.open-ok' })
  }

  /** Gives back what the channels hold and deletes what was exclusive to the connection. */
  #release(abrupt: boolean): void {
    if (!this.#ownsResources) return
    this.#ownsResources = false
    for (const channel of this.#channels) channel?.dispose(abrupt)
    this.#channels.length = 0
    this.#toTell.length = 0
    this.broker?.closeOwner(this)
  }

  #end(abrupt: boolean): void {
    if (this.#phase === 'over') return
    this.#phase = 'over'
    this.#negotiation.stop()
    this.#heartbeat?.stop()
    this.#intake.stop()
    this.output.close()
    this.#unblocked = null
    this.context.forget(this)
    this.#release(abrupt)
    this.context.world.registry.remove(this.id)
  }

  #endIn(ms: number): void {
    this.#closeTimer?.cancel()
    this.#closeTimer = this.context.world.clock.after(ms, () => this.abandon())
  }
}

/** What the peer is told of an error. Anything that is not its doing goes on up: it is our own mistake. */
function refusalFor(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  if (error instanceof EngineError) return refusalOf(error)
  if (error instanceof ProtocolError) return new Refusal(error.code, error.message, 'connection')
  throw error
}
