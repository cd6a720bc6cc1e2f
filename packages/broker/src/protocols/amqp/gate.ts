import type { Blocked } from './context.ts'
import type { ConnectionScope } from './connection-scope.ts'

/** Lets a connection's publishes in while they can be stored, and else has them wait in its socket. */
export class Gate implements Blocked {
  readonly #connection: ConnectionScope
  #reopen: (() => void) | null = null
  #told = false

  constructor(connection: ConnectionScope) {
    this.#connection = connection
  }

  /** An alarm is on, and the connection has met it. */
  get closed(): boolean {
    return this.#reopen !== null
  }

  /** Whether a publish can be taken now. If not, the connection handles nothing until it can. */
  admits(): boolean {
    const { engine } = this.#connection.context.world
    if (engine.flow.blocked !== null) {
      this.#close(engine.flow.blocked)
      return false
    }
    if (engine.canAccept()) return true
    engine.onAccept(this.#connection.hold())
    return false
  }

  unblock(): void {
    const reopen = this.#reopen
    if (reopen === null) return
    this.#reopen = null
    if (this.#told) this.#connection.send(0, { name: 'connection.unblocked' })
    reopen()
  }

  /** The connection is gone. */
  forget(): void {
    this.#reopen = null
    this.#connection.context.forget(this)
  }

  /** Once an episode, and only to those who publish: clients that know of it are told why. */
  #close(alarm: string): void {
    if (this.#reopen !== null) return
    const connection = this.#connection
    this.#reopen = connection.hold()
    this.#told = connection.capabilities.connectionBlocked
    if (this.#told) connection.send(0, { name: 'connection.blocked', reason: `low on ${alarm}` })
    connection.context.awaitUnblocked(this)
  }
}
