import type { VHost } from '@stathmos/engine'
import type { Timer } from '@stathmos/std'
import { FRAME_MIN_SIZE, PROTOCOL_HEADER, REPLY, type Method, type Table } from '@stathmos/wire/amqp'

import type { ConnectionScope } from './connection-scope.ts'
import { readCredentials } from './credentials.ts'
import { Refusal, replyText } from './errors.ts'
import { type ClientCapabilities, clientCapabilities } from './server-properties.ts'

/** A connection that is being negotiated. */
export interface Negotiated extends ConnectionScope {
  /** Sends constant bytes at once, after what waits. */
  writeRaw(bytes: Uint8Array): void
  introduced(clientProperties: Table, capabilities: ClientCapabilities): void
  authenticated(user: string): void
  tuned(channelMax: number, frameMax: number, heartbeatSeconds: number): void
  /** Channels may be opened. */
  opened(vhost: VHost): void
  /** Sends what waits and ends the transport. */
  finish(): void
  /** Drops the connection without a word. */
  abandon(): void
}

/**
 * The beginning of a connection:
 *
 *     header → start → start-ok → (password checked) → tune → tune-ok → open → open-ok
 *
 * It ends with {@link Negotiated.opened}, or the connection does. Until the password has been
 * checked the peer holds a socket, a small buffer and a deadline, and nothing else.
 */
export class Negotiation {
  readonly #connection: Negotiated
  readonly #deadline: Timer
  #awaited: 'header' | 'connection.start-ok' | 'connection.tune-ok' | 'connection.open' | 'nothing' = 'header'

  constructor(connection: Negotiated) {
    this.#connection = connection
    const { clock, limits } = connection.context.world
    this.#deadline = clock.after(limits.authenticateMs, () => connection.abandon())
  }

  get awaitsHeader(): boolean {
    return this.#awaited === 'header'
  }

  stop(): void {
    this.#deadline.cancel()
  }

  /** The first eight octets. */
  header(bytes: Uint8Array, start: number): void {
    const connection = this.#connection
    for (let i = 0; i < PROTOCOL_HEADER.length; i++) {
      if (bytes[start + i] === PROTOCOL_HEADER[i]) continue
      // Whatever it speaks, it learns what we speak (AMQP 0-9-1 §4.2.2).
      connection.writeRaw(PROTOCOL_HEADER)
      connection.finish()
      return
    }
    this.#awaited = 'connection.start-ok'
    connection.writeRaw(connection.context.greeting)
  }

  method(method: Method): void {
    if (method.name !== this.#awaited) {
      throw new Refusal(REPLY.commandInvalid, `expected '${this.#awaited}', got '${method.name}'`, 'connection')
    }
    if (method.name === 'connection.start-ok') this.#startOk(method)
    else if (method.name === 'connection.tune-ok') this.#tuneOk(method)
    else if (method.name === 'connection.open') this.#open(method.virtualHost)
  }

  #startOk(method: Extract<Method, { name: 'connection.start-ok' }>): void {
    const connection = this.#connection
    connection.introduced(method.clientProperties, clientCapabilities(method.clientProperties))
    const { mechanism } = method
    const credentials = readCredentials(mechanism, method.response)
    if (credentials === null) return this.#refuseLogin(mechanism)
    const { user, password } = credentials
    this.#awaited = 'nothing'
    const verified = (right: boolean): void => (right ? this.#tune(user) : this.#refuseLogin(mechanism))
    const answer = connection.context.world.authenticator.verify(user, password, connection.transport.peer)
    if (typeof answer === 'boolean') return verified(answer)
    const done = connection.hold()
    answer.then(
      (right) => {
        if (connection.over) return
        verified(right)
        done()
      },
      () => {
        // The check could not be made, which is no reason to let anybody in.
        if (connection.over) return
        this.#refuseLogin(mechanism)
        done()
      },
    )
  }

  #refuseLogin(mechanism: string): void {
    const connection = this.#connection
    // Clients of before RabbitMQ 3.2 take a closed socket for a wrong password.
    if (!connection.capabilities.authenticationFailureClose) return connection.finish()
    const text = `Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`
    connection.closeWith(REPLY.accessRefused, replyText(REPLY.accessRefused, text), 0)
  }

  #tune(user: string): void {
    const connection = this.#connection
    connection.authenticated(user)
    const { channelMax, frameBytesMax, heartbeatSeconds } = connection.context.options.limits
    this.#awaited = 'connection.tune-ok'
    connection.send(0, { name: 'connection.tune', channelMax, frameMax: frameBytesMax, heartbeat: heartbeatSeconds })
  }

  #tuneOk({ channelMax, frameMax, heartbeat }: Extract<Method, { name: 'connection.tune-ok' }>): void {
    const { limits } = this.#connection.context.options
    const channels = negotiated('channel_max', channelMax, 1, limits.channelMax)
    const frame = negotiated('frame_max', frameMax, FRAME_MIN_SIZE, limits.frameBytesMax)
    this.#awaited = 'connection.open'
    this.#connection.tuned(channels, frame, heartbeat)
  }

  #open(vhostName: string): void {
    const connection = this.#connection
    const { engine } = connection.context.world
    const user = connection.user!
    const vhost: VHost | undefined = engine.vhost(vhostName)
    if (vhost === undefined) throw new Refusal(REPLY.notAllowed, `vhost ${vhostName} not found`)
    if (!engine.access.mayEnter(user, vhostName)) {
      throw new Refusal(REPLY.notAllowed, `access to vhost '${vhostName}' refused for user '${user}'`)
    }
    this.#awaited = 'nothing'
    this.#deadline.cancel()
    connection.opened(vhost)
    connection.send(0, { name: 'connection.open-ok' })
  }
}

/** What the client chose within what was offered; 0 is its word for no limit, which leaves ours. */
function negotiated(name: string, chosen: number, smallest: number, largest: number): number {
  if (chosen === 0) return largest
  const wrong =
    chosen < smallest ? (['lower', 'minimum', smallest] as const) : (['higher', 'maximum', largest] as const)
  if (chosen >= smallest && chosen <= largest) return chosen
  const text = `negotiated ${name} = ${chosen} is ${wrong[0]} than the ${wrong[1]} allowed value (${wrong[2]})`
  throw new Refusal(REPLY.notAllowed, text)
}
